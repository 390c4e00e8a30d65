/**
 * The same relay as `dgram-relay.ts` on the datapath, without the gateway around it: shows what the engine
 * costs by itself.
 *
 * Arguments: the origin's UDP port; the engine, `native` or `node`. Prints its own port.
 */
import { createDatapath } from '../../src/mechanisms/datapath/index.ts'

const origin = { address: '127.0.0.1', port: Number(process.argv[2]) }
const datapath = createDatapath({ engine: process.argv[3] === 'native' ? 'native' : 'node' })
await datapath.start()

const edge = await datapath.openEndpoint({ addresses: ['127.0.0.1'], port: 0 }, (arrival) => {
  void openSession({ address: arrival.address, port: arrival.port }, Buffer.from(arrival.bytes))
})

async function openSession(viewer: { address: string; port: number }, first: Uint8Array): Promise<void> {
  const session = await datapath.openEndpoint({ addresses: ['127.0.0.1'], port: 0, remote: origin }, () => {})
  const near = { endpoint: edge.id, remote: viewer }
  const far = { endpoint: session.id, remote: origin }
  datapath.addFlow({ kind: 'forward', from: near, to: far, copyStunRequests: true })
  datapath.addFlow({ kind: 'forward', from: far, to: near })
  datapath.send(session.id, origin, first)
}

process.stdout.write(`${edge.port}\n`)
// Threads of the native engine keep no process up; this one ends with whoever started it.
process.stdin.resume().on('end', () => process.exit())
