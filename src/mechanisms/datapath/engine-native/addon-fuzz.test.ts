import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'
import { requireAddon } from './addon.testkit.ts'

const script = fileURLToPath(new URL('./addon-fuzz.testkit.ts', import.meta.url))
/** More of them: `SLUICE_FUZZ_CALLS=3000000 SLUICE_FUZZ_SEED=7 npx vitest run addon-fuzz`. */
const calls = Number(process.env['SLUICE_FUZZ_CALLS'] ?? 20_000)
const seed = Number(process.env['SLUICE_FUZZ_SEED'] ?? Date.now() % 1e6)

requireAddon()

it(
  `the addon takes, refuses or ignores whatever it is given (seed ${seed})`,
  async () => {
    const args = ['--import', 'tsx', script, String(seed), String(calls)]
    const deadlineMs = 15_000 + calls
    const run = promisify(execFile)(process.execPath, args, { timeout: deadlineMs, killSignal: 'SIGKILL' })
    const { stdout } = await run
    const ends = JSON.parse(stdout) as Record<string, { readonly done: number; readonly thrown: number }>
    // It is no fuzzing when everything is refused, or nothing.
    const all = Object.values(ends)
    for (const kind of ['done', 'thrown'] as const) {
      expect(all.reduce((sum, end) => sum + end[kind], 0)).toBeGreaterThan(calls / 10)
    }
    expect(all.length).toBeGreaterThanOrEqual(20)
  },
  20_000 + calls,
)
