import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test, vi } from 'vitest'
import { makeFolder } from './frp-services.testkit.ts'
import { createFrpLogger } from './frp-logger.ts'

const config = { level: 'info', maxDays: 3, disablePrintColor: false } as const

describe('the log of a tunnel program', () => {
  test('in a file: its folder is made, and lines have no colours', () => {
    const to = join(makeFolder(), 'var', 'log', 'frpc.log')
    const logger = createFrpLogger('frpc', { ...config, to })
    expect(readFileSync(to, 'utf8')).toBe('')
    logger.info({ proxy: 'p' }, 'start proxy success')
    logger.debug('not at this level')
    expect(readFileSync(to, 'utf8')).toMatch(
      /^\d{4}-\d\d-\d\d [\d:.]{12} \[I\] \[frpc\] \[p\] start proxy success\n$/,
    )
  })

  test('goes on with the file that is there', () => {
    const to = join(makeFolder(), 'frps.log')
    writeFileSync(to, 'before\n')
    createFrpLogger('frps', { ...config, to }).info('after')
    expect(readFileSync(to, 'utf8')).toMatch(/^before\n.*\[frps\] after\n$/)
  })

  test('in a file that cannot be written is an error at once', () => {
    const folder = makeFolder()
    mkdirSync(join(folder, 'is-a-folder'))
    writeFileSync(join(folder, 'is-a-file'), '')
    expect(() => createFrpLogger('frps', { ...config, to: join(folder, 'is-a-folder') })).toThrow('EISDIR')
    expect(() => createFrpLogger('frps', { ...config, to: join(folder, 'is-a-file', 'x.log') })).toThrow(
      /EEXIST|ENOTDIR/,
    )
  })

  test.each([
    ['console', false, true],
    ['', true, false],
  ])('to "%s", without colours: %s', (to, disablePrintColor, isColored) => {
    const write = vi.spyOn(process.stdout, 'write').mockReturnValue(true)
    createFrpLogger('frps', { ...config, to, disablePrintColor }).warn('x')
    const text = String(write.mock.calls[0]?.[0])
    write.mockRestore()
    expect([text.includes('[W] [frps] x'), text.includes('\u001B[')]).toEqual([true, isColored])
  })
})
