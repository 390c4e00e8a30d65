import { describe, expect, test } from 'vitest'
import { frpLogLine } from './frp-log-line.ts'

const plain = { isColored: false, program: 'frpc' }

function line(fields: Record<string, unknown>, options = plain): string {
  const time = new Date(2026, 0, 2, 15, 4, 5, 6).toISOString()
  return frpLogLine(JSON.stringify({ level: 'info', time, pid: 1, ...fields }), options)
}

describe('a line of the log', () => {
  test('is as frp writes it, with the run id and the proxy in front', () => {
    expect(line({ msg: 'start proxy success', runId: 'ab12', proxy: 'ssh' })).toBe(
      '2026-01-02 15:04:05.006 [I] [frpc] [ab12] [ssh] start proxy success\n',
    )
  })

  test('has reasons and lists within the text, and other fields behind', () => {
    expect(line({ level: 'warn', msg: 'start error', error: 'port not allowed', type: 'tcp' })).toBe(
      '2026-01-02 15:04:05.006 [W] [frpc] start error: port not allowed type=tcp\n',
    )
    expect(line({ msg: 'proxy added', proxies: ['a', 'b'] })).toContain('] proxy added: [a b]\n')
  })

  test('is one line, whatever a name is made of', () => {
    expect(line({ msg: 'new proxy', proxy: 'a\n2026 [E]', note: 'x\ry' })).toBe(
      '2026-01-02 15:04:05.006 [I] [frpc] [a\\n2026 [E]] new proxy note="x\\ry"\n',
    )
  })

  test('has the colours of frp where they are wanted', () => {
    expect(line({ msg: 'x', level: 'error' }, { ...plain, isColored: true })).toBe(
      '\u001B[1;31m2026-01-02 15:04:05.006 [E] [frpc] x\n\u001B[0m',
    )
  })
})
