import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'

export interface ProgramOptions {
  readonly cwd?: string
  readonly env?: Readonly<Record<string, string>>
}

/** How a program ended. */
export interface ProgramEnd {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/** Lines that are kept; a program that says more is not heard any longer. */
const KEPT_LINES = 5_000

/**
 * A child process whose output is read by the line. Its standard input stays open while the test lives, so
 * that programs which end with it cannot outlive the test. `await using` ends it.
 */
export class Program {
  readonly #child: ChildProcess
  readonly #name: string
  readonly #lines: string[] = []
  readonly #waiting = new Set<() => void>()
  /** Resolves when the program has ended and its output was read. */
  readonly ended: Promise<ProgramEnd>
  #hasEnded = false

  constructor(command: string, args: readonly string[], options: ProgramOptions = {}) {
    this.#name = [command, ...args].join(' ')
    this.#child = spawn(command, args, {
      cwd: options.cwd,
      env: { ...process.env, ...options.env },
      stdio: ['pipe', 'pipe', 'pipe'],
    })
    this.#child.stdin?.on('error', () => {})
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      if (stream !== null) createInterface({ input: stream }).on('line', (line) => this.#onLine(line))
    }
    this.ended = this.#end()
  }

  get pid(): number {
    if (this.#child.pid === undefined) throw new Error(`${this.#name} did not start`)
    return this.#child.pid
  }

  get isRunning(): boolean {
    return !this.#hasEnded
  }

  /** What it has written so far, both outputs together. */
  get output(): string {
    return this.#lines.join('\n')
  }

  /**
   * The first line, also among earlier ones, of which `find` makes something.
   * @throws Error with the output so far when the program ends before, or after `deadlineMs`
   */
  async line<T>(find: (line: string) => T | undefined, deadlineMs = 15_000): Promise<T> {
    const endMs = performance.now() + deadlineMs
    for (let at = 0; ; ) {
      for (; at < this.#lines.length; at++) {
        const found = find(this.#lines[at] ?? '')
        if (found !== undefined) return found
      }
      const leftMs = endMs - performance.now()
      if (this.#hasEnded || leftMs <= 0) {
        const why = this.#hasEnded ? 'ended' : `said nothing of it within ${deadlineMs} ms`
        throw new Error(`${this.#name} ${why}:\n${this.output}`)
      }
      await this.#change(leftMs)
    }
  }

  /** The same of a program that is of no use without that line: it is stopped before the error is thrown. */
  async readyLine<T>(find: (line: string) => T | undefined): Promise<T> {
    try {
      return await this.line(find)
    } catch (error) {
      await this.stop()
      throw error
    }
  }

  /** Writes to its standard input. */
  write(text: string): void {
    this.#child.stdin?.write(text)
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  /** Ends it: politely, and after `graceMs` for good. */
  async stop(graceMs = 5_000): Promise<ProgramEnd> {
    this.#child.stdin?.end()
    this.#child.kill('SIGTERM')
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), graceMs)
    try {
      return await this.ended
    } finally {
      clearTimeout(timer)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  async #end(): Promise<ProgramEnd> {
    try {
      const [code, signal] = (await once(this.#child, 'close')) as [number | null, NodeJS.Signals | null]
      return { code, signal }
    } catch (error) {
      this.#lines.push(String(error))
      return { code: null, signal: null }
    } finally {
      this.#hasEnded = true
      this.#wake()
    }
  }

  #onLine(line: string): void {
    if (this.#lines.length < KEPT_LINES) this.#lines.push(line)
    this.#wake()
  }

  #wake(): void {
    for (const wake of this.#waiting) wake()
  }

  #change(withinMs: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        clearTimeout(timer)
        this.#waiting.delete(wake)
        resolve()
      }
      const timer = setTimeout(wake, withinMs)
      this.#waiting.add(wake)
    })
  }
}

/** Runs a program to its end. @throws Error with its output unless it ends with code 0 in time */
export async function runProgram(
  command: string,
  args: readonly string[],
  options: ProgramOptions & { readonly deadlineMs?: number } = {},
): Promise<string> {
  const program = new Program(command, args, options)
  const timer = setTimeout(() => program.kill('SIGKILL'), options.deadlineMs ?? 30_000)
  const { code, signal } = await program.ended
  clearTimeout(timer)
  if (code === 0) return program.output
  throw new Error(`${command} ${args.join(' ')} ended with ${signal ?? code}:\n${program.output}`)
}
