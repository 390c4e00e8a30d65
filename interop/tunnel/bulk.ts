import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer as createHttpServer } from 'node:http'
import { createServer, type Server } from 'node:net'
import type { Readable, Writable } from 'node:stream'
import { closeAll, listenLocally, portOf } from './server-port.ts'

const blockBytes = 1024 * 1024
const block = randomBytes(blockBytes - 8)

/** What a long stream came to. */
export interface Digest {
  readonly bytes: number
  readonly sha256: string
}

/** Streams of any length that are the same each time, and of which no two blocks are equal. */
function* bulkOf(mebibytes: number): Generator<Buffer> {
  for (let index = 0; index < mebibytes; index++) {
    const head = Buffer.alloc(8)
    head.writeUInt32BE(index)
    yield head
    yield block
  }
}

export function digestOfBulk(mebibytes: number): Digest {
  const hash = createHash('sha256')
  for (const chunk of bulkOf(mebibytes)) hash.update(chunk)
  return { bytes: mebibytes * blockBytes, sha256: hash.digest('hex') }
}

/** Reads to the end. @throws what the stream is destroyed with */
export async function digestOf(stream: Readable): Promise<Digest> {
  const hash = createHash('sha256')
  let bytes = 0
  // Not by iteration: a promise for each chunk costs more than the chunk.
  stream.on('data', (chunk: Buffer) => {
    hash.update(chunk)
    bytes += chunk.length
  })
  // It may have been paused by who spoke on it before.
  stream.resume()
  await once(stream, 'end')
  return { bytes, sha256: hash.digest('hex') }
}

/** Writes a bulk at the pace of who reads, and ends. */
export async function sendBulk(stream: Writable, mebibytes: number): Promise<void> {
  for (const chunk of bulkOf(mebibytes)) {
    if (!stream.write(chunk)) await once(stream, 'drain')
  }
  stream.end()
}

/** Services that give so many MiB to everyone who asks. */
export class BulkServices implements AsyncDisposable {
  /** Over plain TCP, as soon as something is said. */
  readonly tcp: number
  readonly http: number
  readonly #servers: readonly Server[]

  private constructor(servers: readonly Server[]) {
    const [tcp = 0, http = 0] = servers.map(portOf)
    this.tcp = tcp
    this.http = http
    this.#servers = servers
  }

  static async start(mebibytes: () => number): Promise<BulkServices> {
    const tcp = createServer({ allowHalfOpen: true }, (socket) => {
      socket.on('error', () => undefined)
      socket.once('data', () => void sendBulk(socket, mebibytes()).catch(() => undefined))
    })
    const http = createHttpServer((_request, response) => {
      response.setHeader('content-type', 'application/octet-stream')
      void sendBulk(response, mebibytes()).catch(() => undefined)
    })
    for (const server of [tcp, http]) await listenLocally(server)
    return new BulkServices([tcp, http])
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await closeAll(this.#servers)
  }
}
