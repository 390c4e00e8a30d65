import { once } from 'node:events'
import { WebSocket, WebSocketServer } from 'ws'
import { webSocketOptions } from './web-socket-stream.ts'

/** Both ends of a WebSocket over loopback. */
export interface WebSocketConnection extends AsyncDisposable {
  readonly dialled: WebSocket
  readonly accepted: WebSocket
}

/** An open WebSocket over loopback; disposing cuts both ends and closes the server. */
export async function openWebSocketConnection(): Promise<WebSocketConnection> {
  const server = new WebSocketServer({ ...webSocketOptions, host: '127.0.0.1', port: 0 })
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  const accepting = new Promise<WebSocket>((resolve) => server.once('connection', resolve))
  const dialled = new WebSocket(`ws://127.0.0.1:${address.port}`, webSocketOptions)
  dialled.on('error', () => undefined)
  const [accepted] = await Promise.all([accepting, once(dialled, 'open')])
  return {
    dialled,
    accepted,
    async [Symbol.asyncDispose]() {
      dialled.terminate()
      accepted.terminate()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
