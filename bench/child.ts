import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { basename } from 'node:path'
import { createInterface } from 'node:readline'

/** How much of what a child said is kept to explain why it ended. */
const lastWordsLength = 1000
/** Lines that nobody asked for are forgotten beyond so many. */
const mostLines = 100
const living = new Set<ChildProcess>()

/** A program that the bench runs: its output line by line, and what it said last when it fails. */
export class Child {
  readonly #process: ChildProcess
  readonly #name: string
  readonly #lines: string[] = []
  #errors = ''
  #end: string | undefined
  #wake: () => void = () => {}

  /** Starts it; a command that does not exist shows itself at the first `nextLine`. */
  constructor(command: string, args: readonly string[]) {
    this.#name = basename(command)
    this.#process = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'] })
    const { stdout, stderr, stdin } = this.#process
    if (stdout === null || stderr === null || stdin === null) throw new Error('a child without pipes')
    living.add(this.#process)
    createInterface({ input: stdout }).on('line', (line) => {
      this.#lines.push(line)
      if (this.#lines.length > mostLines) this.#lines.shift()
      this.#wake()
    })
    stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#errors = (this.#errors + text).slice(-lastWordsLength)
    })
    // What is written to a child that has ended is lost; `close` tells.
    stdin.on('error', () => {})
    this.#process.on('error', (error) => this.#ended(error.message))
    this.#process.on('close', (code, signal) => this.#ended(`ended with ${signal ?? `code ${code}`}`))
  }

  get pid(): number {
    return this.#process.pid ?? 0
  }

  get isRunning(): boolean {
    return this.#end === undefined
  }

  /** The next line of its output; rejects when it ends before, or says nothing in time. */
  async nextLine(deadlineMs: number): Promise<string> {
    const deadline = performance.now() + deadlineMs
    for (;;) {
      const line = this.#lines.shift()
      if (line !== undefined) return line
      const leftMs = deadline - performance.now()
      if (!this.isRunning) throw this.failure('')
      if (leftMs <= 0) throw this.failure(`said nothing for ${deadlineMs} ms`)
      await this.#change(leftMs)
    }
  }

  writeLine(text: string): void {
    this.#process.stdin?.write(`${text}\n`)
  }

  /** Ends it and waits for that. */
  async stop(): Promise<void> {
    if (!this.isRunning) return
    const close = once(this.#process, 'close')
    this.#process.kill('SIGKILL')
    await close
  }

  /** What to say of it when it does not do as it should. */
  failure(what: string): Error {
    const output = [...this.#lines, ...this.#errors.split('\n')]
      .filter((line) => !isOfStack(line))
      .join('\n')
      .slice(-lastWordsLength)
    return new Error([this.#name, what, this.#end, output].filter((part) => part).join(': '))
  }

  #ended(how: string): void {
    this.#end ??= how
    living.delete(this.#process)
    this.#wake()
  }

  async #change(timeoutMs: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, timeoutMs)
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }
}

/** Node prints where an uncaught error was thrown, and its version. */
function isOfStack(line: string): boolean {
  return /^(\s*at |Node\.js v|\s*\^?\s*$)/.test(line)
}

/** Takes all children along when the bench itself is ended. */
export function endChildrenAtExit(): void {
  process.once('exit', () => {
    for (const child of living) child.kill('SIGKILL')
  })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => process.exit(1))
  }
}
