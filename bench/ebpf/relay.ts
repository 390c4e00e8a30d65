/**
 * The native engine with fixed flows, for `ebpf-bench measure --native`: the same flows as the kernel has. It sees what
 * the kernel passes up, so it also stands behind the kernel's flows in their runs.
 *
 * Arguments: as `ebpf-bench relay` takes them. Prints `ready`; ends with its standard input.
 */
import { parseArgs } from 'node:util'
import { createDatapath } from '../../src/mechanisms/datapath/index.ts'

const { values } = parseArgs({
  options: {
    'edge-port': { type: 'string', default: '0' },
    'inner-port': { type: 'string', default: '0' },
    flows: { type: 'string', default: '200' },
  },
})
// As in src/topology.rs and src/load/mod.rs.
const origin = { address: '10.99.0.2', port: 8000 }
const inner = '10.99.0.1'
const outer = '10.99.1.1'
const client = (flow: number) => ({ address: '10.99.1.2', port: 30_000 + flow })

const datapath = createDatapath({ engine: 'native' })
await datapath.start()
const edge = await datapath.openEndpoint({ addresses: [outer], port: Number(values['edge-port']) }, () => {})
for (let flow = 0; flow < Number(values.flows); flow++) {
  const port = Number(values['inner-port']) + flow
  const session = await datapath.openEndpoint({ addresses: [inner], port, remote: origin }, () => {})
  const near = { endpoint: edge.id, remote: client(flow) }
  const far = { endpoint: session.id, remote: origin }
  datapath.addFlow({ kind: 'forward', from: near, to: far, copyStunRequests: true })
  datapath.addFlow({ kind: 'forward', from: far, to: near })
}
process.stdout.write('ready\n')
process.stdin.resume().on('end', () => process.exit())
