import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'

/** A proxy on loopback that keeps what it was asked for. */
export interface FakeProxy extends AsyncDisposable {
  readonly port: number
  /** Of an HTTP proxy whole requests; of a SOCKS5 proxy `host:port` and `user:password`. */
  readonly requests: string[]
}

/** An HTTP proxy for CONNECT, by TLS when given a certificate. Answers `refusal` in place of connecting, when there is one. */
export async function fakeHttpProxy(
  options: { readonly tls?: { readonly cert: string; readonly key: string }; readonly refusal?: string } = {},
): Promise<FakeProxy> {
  const requests: string[] = []
  const onSocket = (socket: Socket): void => {
    let text = ''
    const onData = (bytes: Buffer): void => {
      text += bytes.toString('latin1')
      if (!text.includes('\r\n\r\n')) return
      socket.off('data', onData)
      requests.push(text)
      if (options.refusal !== undefined) {
        socket.end(options.refusal)
        return
      }
      const [, host = '', port] = /^CONNECT \[?([^\]\s]+)\]?:(\d+) /.exec(text) ?? []
      joinTo(socket, host, Number(port), 'HTTP/1.1 200 Connection established\r\nVia: fake\r\n\r\n')
    }
    socket.on('data', onData)
    socket.on('error', () => socket.destroy())
  }
  const server = options.tls === undefined ? createServer(onSocket) : createTlsServer(options.tls, onSocket)
  return listen(server, requests)
}

/** A SOCKS5 proxy, with user and password when there are some. Answers `reply` in place of connecting, when it is not 0. */
export async function fakeSocksProxy(
  options: { readonly password?: string; readonly reply?: number } = {},
): Promise<FakeProxy> {
  const { password, reply = 0 } = options
  const requests: string[] = []
  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy())
    void serveSocks(socket, requests, password, reply).catch(() => socket.destroy())
  })
  return listen(server, requests)
}

async function serveSocks(
  socket: Socket,
  requests: string[],
  password: string | undefined,
  reply: number,
): Promise<void> {
  const [greeting]: Buffer[] = await once(socket, 'data')
  const method = password === undefined ? 0 : 2
  if (greeting?.subarray(2).includes(method) !== true) {
    socket.end(Buffer.from([5, 0xff]))
    return
  }
  socket.write(Buffer.from([5, method]))
  if (password !== undefined) {
    const [login = Buffer.alloc(0)]: Buffer[] = await once(socket, 'data')
    const userEnd = 2 + (login[1] ?? 0)
    const given = `${login.toString('utf8', 2, userEnd)}:${login.toString('utf8', userEnd + 1)}`
    requests.push(given)
    socket.write(Buffer.from([1, given === password ? 0 : 1]))
    if (given !== password) return
  }
  const [request = Buffer.alloc(0)]: Buffer[] = await once(socket, 'data')
  const nameEnd = 5 + (request[4] ?? 0)
  const host = request[3] === 3 ? request.toString('utf8', 5, nameEnd) : request.subarray(4, 8).join('.')
  const port = request.readUInt16BE(request.length - 2)
  requests.push(`${host}:${port}`)
  // Bound address as a name, which is allowed and unusual.
  const answer = Buffer.from([5, reply, 0, 3, 1, 0x61, 0, 0])
  if (reply === 0) joinTo(socket, host, port, answer)
  else socket.end(answer)
}

function joinTo(socket: Socket, host: string, port: number, greeting: string | Buffer): void {
  const target = connect({ host, port }, () => {
    socket.write(greeting)
    socket.pipe(target).pipe(socket)
  })
  target.on('error', () => socket.destroy())
  socket.once('close', () => target.destroy())
}

async function listen(server: Server, requests: string[]): Promise<FakeProxy> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  return {
    port: address.port,
    requests,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
