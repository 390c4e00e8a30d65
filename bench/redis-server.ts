import { readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { once } from 'node:events'
import { Child } from './child.ts'
import { freePorts } from './free-ports.ts'
import { untilListening } from './until-listening.ts'

const startDeadlineMs = 10_000
const answerDeadlineMs = 10_000

/** A Redis of the bench's own: empty, on loopback, without persistence. */
export class RedisServer {
  readonly port: number
  readonly child: Child
  readonly #control: Socket

  private constructor(port: number, child: Child, control: Socket) {
    this.port = port
    this.child = child
    this.#control = control
  }

  static async start(): Promise<RedisServer> {
    const [port = 0] = await freePorts(1)
    const child = new Child('redis-server', [
      ...['--bind', '127.0.0.1', '--port', String(port)],
      ...['--save', '', '--appendonly', 'no', '--maxmemory-policy', 'noeviction', '--loglevel', 'warning'],
    ])
    try {
      await untilListening(child, port, startDeadlineMs)
      const control = connect(port, '127.0.0.1')
      await once(control, 'connect')
      return new RedisServer(port, child, control)
    } catch (error) {
      await child.stop()
      throw error
    }
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`
  }

  /** A section of INFO, field by field. */
  async info(section: string): Promise<ReadonlyMap<string, string>> {
    const text = await this.#ask(`INFO ${section}`)
    const lines = text.split('\r\n').filter((line) => line.includes(':'))
    return new Map(
      lines.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)] as const),
    )
  }

  /** Bytes that its data takes, as it counts them itself. */
  async usedBytes(): Promise<number> {
    return Number((await this.info('memory')).get('used_memory'))
  }

  /** How often each command was called, those of scripts too. */
  async calls(): Promise<ReadonlyMap<string, number>> {
    const stats = await this.info('commandstats')
    return new Map(
      [...stats].map(([name, text]) => [
        name.replace('cmdstat_', ''),
        Number(/calls=(\d+)/.exec(text)?.[1] ?? 0),
      ]),
    )
  }

  async flush(): Promise<void> {
    await this.#ask('FLUSHALL')
  }

  /** User and system time of its process, in seconds. */
  cpuSeconds(): number {
    // In nanoseconds, where /proc/PID/stat counts in steps of 10 ms.
    const text = readFileSync(`/proc/${this.child.pid}/schedstat`, 'utf8')
    return Number(text.split(' ')[0]) / 1e9
  }

  async stop(): Promise<void> {
    this.#control.destroy()
    await this.child.stop()
  }

  /** One question at a time; answers are a status or a bulk string. */
  async #ask(command: string): Promise<string> {
    const chunks: Buffer[] = []
    this.#control.write(`${command}\r\n`)
    const signal = AbortSignal.timeout(answerDeadlineMs)
    for (;;) {
      const [chunk] = (await once(this.#control, 'data', { signal })) as [Buffer]
      chunks.push(chunk)
      const text = Buffer.concat(chunks).toString()
      const length = /^\$(\d+)\r\n/.exec(text)
      if (length === null ? text.endsWith('\r\n') : text.length >= length[0].length + Number(length[1]) + 2) {
        if (text.startsWith('-')) throw new Error(`redis: ${text.trim()}`)
        return length === null ? text : text.slice(length[0].length)
      }
    }
  }
}
