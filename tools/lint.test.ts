import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { expect, test } from 'vitest'

const repository = resolve(import.meta.dirname, '..')

// Without --type-aware, or without its engine, the rule is silent and everything looks green.
test('npm run check:lint catches a promise that nobody awaits', () => {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-lint-'))
  try {
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions: { strict: true } }))
    writeFileSync(
      join(folder, 'planted.ts'),
      'export async function work(): Promise<void> {\n  await Promise.resolve()\n}\n\nexport function start(): void {\n  work()\n}\n',
    )
    const { status, stdout } = spawnSync(
      'npm',
      [
        'run',
        '--silent',
        'check:lint',
        '--',
        '--config',
        join(repository, '.oxlintrc.json'),
        '--format',
        'unix',
        folder,
      ],
      { cwd: repository, encoding: 'utf8' },
    )
    expect(stdout).toMatch(/planted\.ts:6:3: .*no-floating-promises/)
    expect(status).toBe(1)
  } finally {
    rmSync(folder, { recursive: true })
  }
})
