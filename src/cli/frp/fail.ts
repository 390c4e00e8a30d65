import { SluiceError } from '../../foundation/errors.ts'

/** Runs a command of frp; an error is a line on standard output and exit code 1, as scripts around frp expect. */
export async function orFail(command: () => Promise<void>): Promise<void> {
  try {
    await command()
  } catch (error) {
    // What we throw on purpose reads as one line; anything else is a bug and keeps its stack.
    const text = error instanceof SluiceError || error instanceof TypeError ? error.message : stackOf(error)
    process.stdout.write(`${text}\n`)
    process.exitCode = 1
  }
}

function stackOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}
