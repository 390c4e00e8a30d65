import { loadConfig } from '../mechanisms/config/index.ts'

/** `sluice check`: exit code 0 and one line when the file can be used; else the error, with exit code 1. */
export async function check(options: { readonly config: string }): Promise<void> {
  await loadConfig(options.config)
  process.stdout.write(`${options.config}: good\n`)
}
