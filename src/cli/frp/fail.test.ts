import { readFile } from 'node:fs/promises'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { TunnelError } from '../../services/tunnel/errors.ts'
import { orFail } from './fail.ts'

afterEach(() => {
  vi.restoreAllMocks()
  process.exitCode = undefined
})

/** What a command prints that fails so. */
async function told(error: unknown): Promise<string> {
  const write = vi.spyOn(process.stdout, 'write').mockReturnValue(true)
  await orFail(async () => {
    throw error
  })
  expect(process.exitCode).toBe(1)
  const text = write.mock.calls.map(([text]) => String(text)).join('')
  write.mockRestore()
  return text
}

describe('a command that fails', () => {
  test('on purpose says why in one line', async () => {
    expect(await told(new TunnelError('TUNNEL_BAD_OPTION', 'auth.token is wrong', { side: 'self' }))).toBe(
      'auth.token is wrong\n',
    )
    expect(await told(new TypeError('--grace x: must be a number of seconds'))).toBe(
      '--grace x: must be a number of seconds\n',
    )
    const missing: unknown = await readFile('/nowhere/frpc.toml').catch((error: unknown) => error)
    expect(await told(missing)).toMatch(/^ENOENT: [^\n]*\n$/)
  })

  test('by a bug keeps its stack', async () => {
    expect(await told(new RangeError('bug'))).toMatch(/^RangeError: bug\n {4}at /)
    expect(await told('no error')).toBe('no error\n')
  })

  test('not at all says nothing', async () => {
    const write = vi.spyOn(process.stdout, 'write')
    await orFail(async () => undefined)
    expect([write.mock.calls, process.exitCode]).toEqual([[], undefined])
  })
})
