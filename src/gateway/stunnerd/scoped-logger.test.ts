import { describe, expect, it } from 'vitest'
import { parseLogLevels } from './log-level.ts'
import { createScopedLogger } from './scoped-logger.ts'
import { keptLog } from './stunnerd.testkit.ts'

describe('log levels', () => {
  it('are one for all and others by scope, where later ones hold', () => {
    const levels = parseLogLevels('turn:TRACE,all:warn,cds-client:DEBUG,health:DISABLE')
    expect(levels.all).toBe('warn')
    expect([...levels.scopes]).toEqual([
      ['cds-client', 'debug'],
      ['health', 'silent'],
    ])
    expect(levels.ignored).toEqual([])
  })

  it('of STUNner scopes are those of our components, the most verbose where several are one', () => {
    expect([...parseLogLevels('listener-udp:DEBUG,auth:ERROR,relay-x:INFO,stunner:WARN').scopes]).toEqual([
      ['turn', 'debug'],
      ['stunnerd', 'warn'],
    ])
  })

  it('tell what they pass over', () => {
    expect(parseLogLevels('all:LOUD,INFO,,turn:DEBUG').ignored).toEqual(['all:LOUD', 'INFO'])
  })
})

describe('the log', () => {
  it('has the level of each component, also of what is made of it', () => {
    const { logger, lines, setLevels } = keptLog('all:INFO,turn:DEBUG')
    const turn = logger.child({ component: 'turn' })
    const allocation = turn.child({ allocation: 'a' })
    const health = logger.child({ component: 'health' })
    const say = (): string[] => {
      lines.length = 0
      for (const log of [turn, allocation, health]) log.debug('x')
      return lines.map((line) => line.slice(13, -1))
    }
    expect(say()).toEqual(['turn DEBUG: x', 'turn DEBUG: x allocation=a'])
    setLevels('all:DEBUG,turn:INFO')
    expect(say()).toEqual(['health DEBUG: x'])
  })

  it('is one readable line, whatever is in it', () => {
    const { logger, lines } = keptLog()
    logger.child({ component: 'turn' }).warn({ user: 'a\nb', port: 3478, password: 'x' }, 'who\r\nis it')
    expect(lines).toHaveLength(1)
    expect(lines[0]).toMatch(
      /^\d\d:\d\d:\d\d\.\d{3} turn WARN: who\\r\\nis it user="a\\nb" port=3478 password=\[Redacted\]\n$/,
    )
  })

  it('is JSON when asked for', () => {
    const lines: string[] = []
    const { logger } = createScopedLogger({
      format: 'json',
      levels: 'all:INFO',
      stream: { write: (line) => lines.push(line) },
    })
    logger.info({ port: 1 }, 'hello')
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({ level: 'info', msg: 'hello', port: 1 })
  })
})
