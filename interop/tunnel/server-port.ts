import { once } from 'node:events'
import type { Server } from 'node:net'

/** Opens a server on a free port of 127.0.0.1, or on this one. */
export async function listenLocally(server: Server, port = 0): Promise<void> {
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
}

/** @throws Error while it does not listen */
export function portOf(server: Server | undefined): number {
  const address = server?.address()
  if (typeof address !== 'object' || address === null) throw new Error('the server does not listen')
  return address.port
}

/** Ends servers with the connections that HTTP keeps alive. */
export async function closeAll(servers: readonly Server[]): Promise<void> {
  await Promise.all(
    servers.map(async (server) => {
      server.close()
      if ('closeAllConnections' in server && typeof server.closeAllConnections === 'function') {
        server.closeAllConnections()
      }
      await once(server, 'close')
    }),
  )
}
