import { SluiceError } from '../../foundation/errors.ts'

/** Runs a command of frp; an error is a line on standard output and exit code 1, as scripts around frp expect. */
export async function orFail(command: () => Promise<void>): Promise<void> {
  try {
    await command()
  } catch (error) {
    // What we throw on purpose reads as one line; anything else is a bug and keeps its stack.
    const text = isExpected(error) ? error.message : stackOf(error)
    process.stdout.write(`${text}\n`)
    process.exitCode = 1
  }
}

/** Ours, misuse of a flag, or what the system says. */
function isExpected(error: unknown): error is Error {
  if (error instanceof SluiceError || error instanceof TypeError) return true
  return error instanceof Error && 'syscall' in error
}

function stackOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}
