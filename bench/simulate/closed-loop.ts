import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { ReplyCounter } from './resp.ts'

/** What commands cost a Redis, in its own CPU time. */
export interface LoopCost {
  readonly cpuUs: number
  readonly perSecond: number
  readonly replyBytes: number
  readonly requestBytes: number
}

/** A connection that sends batches of commands and waits for their answers. */
export class BatchClient {
  readonly #socket: Socket
  readonly #replies = new ReplyCounter()
  receivedBytes = 0
  #left = 0
  #done: () => void = () => {}

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.setNoDelay(true)
    socket.on('data', (chunk: Buffer) => {
      this.receivedBytes += chunk.length
      this.#left -= this.#replies.take(chunk)
      if (this.#left === 0) this.#done()
    })
  }

  static async open(port: number): Promise<BatchClient> {
    const socket = connect(port, '127.0.0.1')
    await once(socket, 'connect')
    return new BatchClient(socket)
  }

  /** One write; resolves with the last answer. @throws Error when Redis answered with one */
  async send(batch: Buffer, commands: number): Promise<void> {
    if (this.#left > 0) throw new Error('a batch is under way')
    this.#left = commands
    const answered = new Promise<void>((resolve) => {
      this.#done = resolve
    })
    this.#socket.write(batch)
    await answered
    if (this.#replies.firstError !== undefined) throw new Error(`redis: ${this.#replies.firstError}`)
  }

  close(): void {
    this.#socket.destroy()
  }
}

/** Sends commands in batches over some connections, each the next one when it has its answers. */
export async function closedLoop(
  server: { readonly port: number; cpuSeconds(): number },
  commandOf: (index: number) => Buffer,
  {
    commands,
    batch,
    connections,
  }: { readonly commands: number; readonly batch: number; readonly connections: number },
): Promise<LoopCost> {
  const clients = await Promise.all(Array.from({ length: connections }, () => BatchClient.open(server.port)))
  const batches = Array.from({ length: Math.ceil(commands / batch) }, (_, at) =>
    Buffer.concat(Array.from({ length: batch }, (_, offset) => commandOf(at * batch + offset))),
  )
  const sent = batches.length * batch
  let next = 0
  const [cpuBefore, startMs] = [server.cpuSeconds(), performance.now()]
  const work = async (client: BatchClient): Promise<void> => {
    for (let bytes = batches[next++]; bytes !== undefined; bytes = batches[next++])
      await client.send(bytes, batch)
  }
  try {
    await Promise.all(clients.map(work))
  } finally {
    for (const client of clients) client.close()
  }
  const seconds = (performance.now() - startMs) / 1000
  return {
    cpuUs: ((server.cpuSeconds() - cpuBefore) * 1e6) / sent,
    perSecond: sent / seconds,
    replyBytes: clients.reduce((sum, { receivedBytes }) => sum + receivedBytes, 0) / sent,
    requestBytes: batches.reduce((sum, { length }) => sum + length, 0) / sent,
  }
}
