import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { Socket } from 'node:net'
import { type WebSocket, WebSocketServer } from 'ws'
import { webSocketOptions } from '../../../mechanisms/streams/index.ts'
import { webSocketPath } from './web-socket-path.ts'

/**
 * The HTTP that the tunnel's port speaks itself: a WebSocket at its one path, for requests with an `Origin` as frps wants it
 * (403 otherwise); everything else is answered 404. Has no deadline: whoever destroys the socket ends it.
 */
export class WebSocketDoor {
  readonly #http: Server
  readonly #webSockets = new WebSocketServer({ ...webSocketOptions, noServer: true, clientTracking: false })
  readonly #waiting = new WeakMap<object, (webSocket: WebSocket) => void>()

  constructor() {
    // It never listens: it serves sockets that are given to it.
    this.#http = createServer((_request, response) => {
      response.writeHead(404, { connection: 'close', 'content-type': 'text/plain' }).end('not found\n')
    })
    this.#http.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) =>
      this.#upgrade(request, socket, head),
    )
  }

  /** Takes the socket over, plain or TLS; nothing of what came has been taken out of it. */
  serve(socket: Socket, onWebSocket: (webSocket: WebSocket) => void): void {
    this.#waiting.set(socket, onWebSocket)
    this.#http.emit('connection', socket)
  }

  #upgrade(request: IncomingMessage, socket: Socket, head: Buffer): void {
    const onWebSocket = this.#waiting.get(request.socket)
    if (onWebSocket === undefined || request.url !== webSocketPath) refuse(socket, '404 Not Found')
    else if (!URL.canParse(request.headers.origin ?? '')) refuse(socket, '403 Forbidden')
    else this.#webSockets.handleUpgrade(request, socket, head, onWebSocket)
  }
}

function refuse(socket: Socket, status: string): void {
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`)
  socket.destroySoon()
}
