import { execFile } from 'node:child_process'
import { open } from 'node:fs/promises'
import { promisify } from 'node:util'
import { errorCode } from '../../../foundation/errors.ts'
import type { ValueSource } from '../../../mechanisms/frp-config/index.ts'
import { TunnelError, TunnelErrorCode } from '../errors.ts'

/** Bounds of what a source may do. */
export interface ValueSourceOptions {
  /** A program that runs longer is killed, in milliseconds. @defaultValue 10000 */
  readonly timeoutMs?: number
  /** A longer value is an error. @defaultValue 65536 */
  readonly maxBytes?: number
}

const DEFAULTS = { timeoutMs: 10_000, maxBytes: 65_536 }

/**
 * The value that a source gives, without the white space around it: what a file holds, or what a program writes to its
 * standard output. The program has the environment of this process, and the entries of the source besides.
 *
 * @throws TunnelError TUNNEL_BAD_OPTION; nothing of the value is in its message
 */
export async function resolveValueSource(
  source: ValueSource,
  options: ValueSourceOptions = {},
): Promise<string> {
  const bounds = { ...DEFAULTS, ...options }
  const text = source.type === 'file' ? await readText(source.file.path, bounds) : await run(source, bounds)
  return text.trim()
}

async function readText(path: string, { maxBytes }: typeof DEFAULTS): Promise<string> {
  let bytes: Buffer
  try {
    const file = await open(path)
    try {
      // One byte beyond the bound shows a file that is too long, also one that never ends.
      const { buffer, bytesRead } = await file.read(Buffer.alloc(maxBytes + 1), 0, maxBytes + 1, null)
      bytes = buffer.subarray(0, bytesRead)
    } finally {
      await file.close()
    }
  } catch (cause) {
    throw failed(`failed to read file ${path}: ${errorCode(cause)}`, cause)
  }
  if (bytes.length > maxBytes) throw failed(`file ${path} has more than ${maxBytes} bytes`)
  return bytes.toString('utf8')
}

async function run(
  { exec: { command, args, env } }: Extract<ValueSource, { readonly type: 'exec' }>,
  { timeoutMs, maxBytes }: typeof DEFAULTS,
): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)(command, args, {
      env: { ...process.env, ...Object.fromEntries(env.map(({ name, value }) => [name, value])) },
      timeout: timeoutMs,
      killSignal: 'SIGKILL',
      maxBuffer: maxBytes,
      windowsHide: true,
    })
    return stdout
  } catch (cause) {
    throw failed(`failed to execute command ${command}: ${exitReason(cause, timeoutMs)}`, cause)
  }
}

/** Not Node's own text, which repeats the arguments and what the program wrote to standard error. */
function exitReason(error: unknown, timeoutMs: number): string {
  if (typeof error !== 'object' || error === null) return 'unknown'
  if ('code' in error && typeof error.code === 'number') return `exit status ${error.code}`
  if ('killed' in error && error.killed === true && errorCode(error) === 'UNKNOWN') {
    return `no end within ${timeoutMs} ms`
  }
  if ('signal' in error && typeof error.signal === 'string') return `ended by ${error.signal}`
  return errorCode(error)
}

function failed(message: string, cause?: unknown): TunnelError {
  return new TunnelError(TunnelErrorCode.badOption, message, { side: 'self', cause })
}
