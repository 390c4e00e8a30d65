import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { runProgram } from './program.ts'
import { repository } from './repository.ts'

/** One end of a link: the namespace and the name of its interface there. */
export interface LinkEnd {
  readonly namespace: string
  readonly interface: string
  /** Addresses with their prefix length. */
  readonly addresses: readonly string[]
}

/**
 * Network namespaces of this machine, with links between them and processes in them. Names are a test's own: other tests
 * and runs may use the same. `await using` ends the processes and deletes it all.
 */
export class Namespaces implements AsyncDisposable {
  readonly #prefix = `sluice-${process.pid}-${++made}-`
  readonly #names: string[] = []
  readonly #processes: { stop(): Promise<void> }[] = []

  /** @throws Error where one may not make namespaces */
  async add(...names: readonly string[]): Promise<void> {
    for (const name of names) {
      await runProgram('ip', ['netns', 'add', this.#prefix + name]).catch((cause: unknown) => {
        throw new Error('this test needs to be root: `ip netns add` is not permitted here', { cause })
      })
      this.#names.push(name)
      await this.ip(name, 'link set lo up')
    }
  }

  /** Joins two namespaces by a virtual cable. */
  async link(one: LinkEnd, other: LinkEnd, mtu = 1500): Promise<void> {
    await this.ip(
      one.namespace,
      `link add name ${one.interface} mtu ${mtu} type veth peer name ${other.interface} mtu ${mtu} ` +
        `netns ${this.#prefix}${other.namespace}`,
    )
    for (const end of [one, other]) await this.plug(end)
  }

  /** Gives an end its addresses and puts it up, also one that was down. */
  async plug(end: LinkEnd): Promise<void> {
    await this.ip(end.namespace, `link set ${end.interface} up`)
    for (const address of end.addresses) {
      // Usable at once: nobody else can have it.
      const options = address.includes(':') ? 'nodad' : ''
      await this.ip(end.namespace, `address replace ${address} dev ${end.interface} ${options}`)
    }
  }

  /** Runs `ip` within a namespace. @throws Error with what it said when it fails */
  async ip(name: string, command: string): Promise<void> {
    await runProgram('ip', ['-n', this.#prefix + name, ...command.split(' ').filter(Boolean)])
  }

  /** Sets a kernel parameter of a namespace: its path below `/proc/sys/net`. */
  async set(name: string, parameter: string, value: string): Promise<void> {
    const command = `echo ${value} > /proc/sys/net/${parameter}`
    await runProgram('ip', ['netns', 'exec', this.#prefix + name, 'sh', '-c', command])
  }

  /** Starts a script of this folder within a namespace. Ends with the namespaces. */
  run<C extends Calls>(name: string, script: string): NamespaceProcess<C> {
    const file = join(repository, 'interop/harness', script)
    const command = ['netns', 'exec', this.#prefix + name, process.execPath, '--import', 'tsx', file]
    const started = new NamespaceProcess<C>('ip', command)
    this.#processes.push(started)
    return started
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#processes.map(async (process) => await process.stop()))
    // Their interfaces go with them.
    for (const name of this.#names.splice(0)) await runProgram('ip', ['netns', 'delete', this.#prefix + name])
  }
}

let made = 0

/** What a script answers; arguments and results are JSON. */
export type Calls = Readonly<Record<string, (...args: never[]) => unknown>>

/** A script that answers calls by `answerCalls`, each a line of JSON on its standard input and output. */
export class NamespaceProcess<C extends Calls> {
  readonly #child: ChildProcess
  readonly #script: string
  readonly #waiting = new Map<number, (answer: Answer) => void>()
  readonly #errorLines: string[] = []
  readonly #closed: Promise<unknown>
  #lastCall = 0
  #hasEnded = false

  constructor(command: string, args: readonly string[]) {
    this.#script = args.at(-1) ?? command
    const child = spawn(command, args, { cwd: repository, stdio: ['pipe', 'pipe', 'pipe'] })
    this.#child = child
    child.stdin.on('error', () => {})
    createInterface({ input: child.stdout }).on('line', (line) => {
      const answer = JSON.parse(line) as Answer
      this.#waiting.get(answer.call)?.(answer)
    })
    createInterface({ input: child.stderr }).on('line', (line) => this.#errorLines.push(line))
    this.#closed = once(child, 'close')
      .catch((error: unknown) => this.#errorLines.push(String(error)))
      .finally(() => {
        this.#hasEnded = true
        for (const [call, settle] of this.#waiting) settle({ call, error: this.#obituary })
      })
  }

  /** @throws Error with what the script threw, or when it ends or does not answer in time */
  async call<K extends keyof C & string>(
    name: K,
    ...args: Parameters<C[K]>
  ): Promise<Awaited<ReturnType<C[K]>>> {
    if (this.#hasEnded) throw new Error(this.#obituary)
    const call = ++this.#lastCall
    const answered = new Promise<Answer>((resolve) => {
      const timer = setTimeout(() => resolve({ call, error: `${name} was not answered` }), 10_000)
      this.#waiting.set(call, (answer) => {
        clearTimeout(timer)
        resolve(answer)
      })
    })
    this.#child.stdin?.write(`${JSON.stringify({ call, name, args })}\n`)
    const { result, error } = await answered
    this.#waiting.delete(call)
    if (error !== undefined) throw new Error(`${this.#script}: ${error}`)
    return result as Awaited<ReturnType<C[K]>>
  }

  /** Resolves when it has ended: by itself as its input does, else killed. */
  async stop(graceMs = 5_000): Promise<void> {
    this.#child.stdin?.end()
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), graceMs)
    await this.#closed
    clearTimeout(timer)
  }

  get #obituary(): string {
    return `it has ended with ${this.#child.signalCode ?? this.#child.exitCode}:\n${this.#errorLines.join('\n')}`
  }
}

interface Question {
  readonly call: number
  readonly name: string
  readonly args: readonly never[]
}

interface Answer {
  readonly call: number
  readonly result?: unknown
  readonly error?: string
}

/** The other end of `NamespaceProcess`: answers calls one after the other until standard input ends. */
export async function answerCalls(calls: Calls): Promise<void> {
  for await (const line of createInterface({ input: process.stdin })) {
    const { call, name, args } = JSON.parse(line) as Question
    let answer: Answer
    try {
      answer = { call, result: await calls[name]?.(...args) }
    } catch (error) {
      answer = { call, error: String(error) }
    }
    console.log(JSON.stringify(answer))
  }
}
