/**
 * The bare relay that the datapath is compared with: `node:dgram` with nothing but what relaying needs. One
 * socket towards the viewers, one connected socket per viewer towards the origin.
 *
 * Arguments: the origin's UDP port. Prints its own.
 */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'

const originPort = Number(process.argv[2])
const edge = createSocket({ type: 'udp4', recvBufferSize: 4 << 20 })
const sessions = new Map<string, ReturnType<typeof createSocket>>()

edge.on('message', (bytes, viewer) => {
  const name = `${viewer.address}:${viewer.port}`
  let session = sessions.get(name)
  if (session === undefined) {
    session = createSocket({ type: 'udp4' })
    sessions.set(name, session)
    session.on('message', (answer) => edge.send(answer, viewer.port, viewer.address))
    session.connect(originPort, '127.0.0.1', () => session?.send(bytes))
    return
  }
  session.send(bytes)
})

edge.bind(0, '127.0.0.1')
await once(edge, 'listening')
process.stdout.write(`${edge.address().port}\n`)
