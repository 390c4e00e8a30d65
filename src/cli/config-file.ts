import { existsSync } from 'node:fs'
import { type Config, loadConfig } from '../mechanisms/config/index.ts'

/** The file that is read when none is named. */
const DEFAULT_FILE = 'sluice.toml'

/** The configuration of a command: the named file, else `sluice.toml` here, else undefined. */
export async function configOf(file: string | undefined): Promise<Config | undefined> {
  if (file !== undefined) return await loadConfig(file)
  return existsSync(DEFAULT_FILE) ? await loadConfig(DEFAULT_FILE) : undefined
}
