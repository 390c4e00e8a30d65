/**
 * The bare relay that HTTP-FLV is compared with: `node:http` and `pipe`, as a proxy is written by default.
 *
 * Arguments: the origin's TCP port. Prints its own.
 */
import { once } from 'node:events'
import { createServer, request } from 'node:http'

const originPort = Number(process.argv[2])

const server = createServer((incoming, outgoing) => {
  const upstream = request(
    { host: '127.0.0.1', port: originPort, path: incoming.url, headers: incoming.headers },
    (response) => {
      outgoing.writeHead(response.statusCode ?? 502, response.headers)
      response.pipe(outgoing)
    },
  )
  upstream.on('error', () => outgoing.destroy())
  outgoing.on('close', () => upstream.destroy())
  incoming.pipe(upstream)
})

server.listen(0, '127.0.0.1')
await once(server, 'listening')
const address = server.address()
process.stdout.write(`${typeof address === 'object' ? address?.port : ''}\n`)
