import { checkTurn } from '../gateway/turn-parts.ts'
import { loadConfig } from '../mechanisms/config/index.ts'

/**
 * `sluice check`: exit code 0 and one line when the file can be used; else the error, with exit code 1. Reads the files that
 * it names, and opens no port.
 */
export async function check(options: { readonly config: string }): Promise<void> {
  const { turn } = await loadConfig(options.config)
  await checkTurn(turn)
  process.stdout.write(`${options.config}: good\n`)
}
