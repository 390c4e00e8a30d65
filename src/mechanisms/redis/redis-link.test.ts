import { inspect } from 'node:util'
import { describe, expect, it } from 'vitest'
import { errorCode } from '../../foundation/errors.ts'
import { eventually } from '../../foundation/eventually.testkit.ts'
import { FakeRedis } from './fake-redis.testkit.ts'
import { makeLink, startLink, until } from './redis-link.testkit.ts'

const SCRIPT = { name: 'script', lua: 'return 1' }

describe('a command', () => {
  it('is answered as the server says it, with whole keys', async () => {
    await using fake = await FakeRedis.start(([name]) => (name === 'HGETALL' ? ['f', '1'] : undefined))
    await using link = await startLink({ url: `redis://${fake.place}`, prefix: 'live' })
    expect(link.redis.isUp).toBe(true)
    expect(link.redis.key('h')).toBe('live:h')
    expect(await link.redis.command('hgetall', link.redis.key('h'))).toEqual(['f', '1'])
    expect(fake.commands.at(-1)).toEqual(['HGETALL', 'live:h'])
    expect(await link.registry.metrics()).toContain(
      'sluice_redis_commands_total{command="HGETALL",result="ok"} 1',
    )
  })

  it('that was not done as the server serves nobody is an error of its own, inside a script too', async () => {
    await using fake = await FakeRedis.start(([name]) =>
      name === 'EVALSHA'
        ? new Error('ERR Error running script (call to f_1): @user_script:1: -READONLY You cannot write')
        : undefined,
    )
    await using link = await startLink({ url: `redis://${fake.place}` })
    await expect(link.redis.run(SCRIPT, ['k'], [])).rejects.toMatchObject({
      code: 'REDIS_AWAY',
      reply: 'READONLY',
    })
    await until(() => !link.redis.isUp)
  })

  it('goes out in one write with the others of its tick', async () => {
    await using fake = await FakeRedis.start()
    await using link = await startLink({ url: `redis://${fake.place}` })
    fake.pieces.length = 0
    await Promise.all(Array.from({ length: 50 }, (_, index) => link.redis.command('SET', `k${index}`, 'v')))
    expect(fake.pieces).toEqual([50])
  })

  it('without a prefix has keys without a colon', async () => {
    await using link = makeLink({ url: 'redis://127.0.0.1' })
    expect(link.redis.key('k')).toBe('k')
  })

  it('fails at its deadline when nothing is answered, and what comes late is dropped', async () => {
    await using fake = await FakeRedis.start()
    await using link = await startLink({ url: `redis://${fake.place}`, timeoutSeconds: 0.5 })
    const late = link.redis.command('GET', 'k')
    await until(() => fake.count('GET') === 1)
    link.clock.advance(500)
    await expect(late).rejects.toMatchObject({
      code: 'REDIS_SLOW',
      message: expect.stringContaining('500 ms'),
    })
    expect(await link.registry.metrics()).toContain('{command="GET",result="slow"} 1')
  })

  it('fails at once beyond the bound on commands that wait, those that came too late included', async () => {
    await using fake = await FakeRedis.start()
    await using link = await startLink({ url: `redis://${fake.place}`, maxInFlight: 2 })
    const waiting = [link.redis.command('GET', 'a'), link.redis.command('GET', 'b')]
    await expect(link.redis.command('SET', 'c', '1')).rejects.toMatchObject({ code: 'REDIS_AWAY' })
    link.clock.advance(1000)
    for (const command of waiting) await expect(command).rejects.toMatchObject({ code: 'REDIS_SLOW' })
    await expect(link.redis.command('SET', 'c', '1')).rejects.toThrow('2 commands wait')
    expect(await link.registry.metrics()).toContain('{command="SET",result="dropped"} 2')
    expect(link.lines.filter((line) => line.includes('too many commands'))).toHaveLength(1)
    expect(fake.count('SET')).toBe(0)
  })

  it('fails at once when too much waits to be sent', async () => {
    await using fake = await FakeRedis.start()
    await using link = await startLink({ url: `redis://${fake.place}` })
    const value = Buffer.alloc(4 * 1024 * 1024)
    const commands = Array.from({ length: 10 }, () => link.redis.command('SET', 'k', value))
    const settled = Promise.allSettled(commands)
    await link.redis.close()
    const codes = (await settled).map((result) => result.status === 'rejected' && errorCode(result.reason))
    expect(codes).toEqual([...Array.from({ length: 8 }, () => 'REDIS_SLOW'), 'REDIS_AWAY', 'REDIS_AWAY'])
  })

  it('that Redis refuses is an error with its first word, without what was sent', async () => {
    await using fake = await FakeRedis.start(([name]) =>
      name === 'GET'
        ? new Error('WRONGTYPE Operation against a key')
        : name === 'NOSUCH'
          ? new Error("ERR unknown command 'NOSUCH', with args beginning with: 'hidden'")
          : undefined,
    )
    await using link = await startLink({ url: `redis://${fake.place}` })
    const refused = { code: 'REDIS_REFUSED', reply: 'WRONGTYPE' }
    await expect(link.redis.command('GET', 'hidden')).rejects.toMatchObject(refused)
    const error: unknown = await link.redis.command('NOSUCH', 'hidden').catch((reason: unknown) => reason)
    expect(inspect(error, { depth: 10, showHidden: true })).not.toContain('hidden')
    expect(link.redis.isUp).toBe(true)
  })

  it('whose connection breaks before the answer may have been done', async () => {
    await using fake = await FakeRedis.start()
    await using link = await startLink({ url: `redis://${fake.place}` })
    const cut = link.redis.command('GET', 'k')
    await until(() => fake.count('GET') === 1)
    fake.drop()
    await expect(cut).rejects.toMatchObject({ code: 'REDIS_SLOW' })
    await expect(link.redis.command('GET', 'k')).rejects.toMatchObject({ code: 'REDIS_AWAY' })
  })
})

describe('a script', () => {
  it('is sent by its hash, and as a text to who does not know it', async () => {
    let isKnown = false
    await using fake = await FakeRedis.start(([name]) => {
      if (name === 'EVALSHA') return isKnown ? 'by hash' : new Error('NOSCRIPT No matching script.')
      isKnown = true
      return name === 'EVAL' ? 'by text' : undefined
    })
    isKnown = false
    await using link = await startLink({ url: `redis://${fake.place}` })
    isKnown = false
    expect(await link.redis.run(SCRIPT, ['k'], ['a', 2])).toBe('by text')
    expect(fake.commands.at(-1)).toEqual(['EVAL', 'return 1', '1', 'k', 'a', '2'])
    expect(await link.redis.run(SCRIPT, ['k'], ['a', 2])).toBe('by hash')
    const metrics = await link.registry.metrics()
    expect(metrics).toContain('{command="script",result="ok"} 3')
    expect(metrics).not.toContain('result="refused"')
  })
})

describe('the state', () => {
  it('a server that is away is a warning, and there as soon as it is back', async () => {
    await using fake = await FakeRedis.start()
    const { port } = fake
    await fake.stop()
    await using link = await startLink({ url: `redis://127.0.0.1:${port}` })
    expect(link.redis.isUp).toBe(false)
    expect(link.lines).toEqual([expect.stringMatching(/"level":"warn".*ECONNREFUSED.*Redis is away/)])

    await fake.listen(port)
    link.clock.advance(3000)
    await until(() => link.redis.isUp)
    expect(link.lines[1]).toMatch(/"level":"info".*"awaySeconds":3.*Redis answers/)
    expect(link.changes).toEqual([true])
    expect(await link.registry.metrics()).toMatch(/sluice_redis_up 1\n/)
  })

  it('a lost connection is made again after a pause that doubles, up to its bound', async () => {
    await using fake = await FakeRedis.start()
    const { port } = fake
    await using link = await startLink({ url: `redis://${fake.place}`, maxRetryMs: 1000 })
    await fake.stop()
    await until(() => !link.redis.isUp)
    const pauses: (number | undefined)[] = []
    for (let attempt = 2; attempt < 8; attempt++) {
      pauses.push(link.clock.dueInMs)
      link.clock.advance(link.clock.dueInMs ?? 0)
      // The deadline of the attempt is gone when the next pause has begun.
      await eventually(() => expect(link.clock.dueInMs).toBeLessThanOrEqual(1000))
    }
    expect(pauses).toEqual([75, 150, 300, 600, 750, 750])
    await fake.listen(port)
    link.clock.advance(1000)
    await until(() => link.redis.isUp)
    expect(link.changes).toEqual([true, false, true])
    expect(link.lines.map((line) => (JSON.parse(line) as { level: string }).level)).toEqual([
      'info',
      'warn',
      'info',
    ])
  })

  it('a server that stays away is one line, however long that takes', async () => {
    await using fake = await FakeRedis.start()
    await using link = await startLink({ url: `redis://${fake.place}` })
    await fake.stop()
    await until(() => !link.redis.isUp)
    for (const { length } = link.lines; link.clock.nowMs() < 130_000; ) {
      // A pause, and not the deadline of an attempt.
      await until(() => (link.clock.dueInMs ?? 0) < 3000)
      link.clock.advance(60_000)
      expect(link.lines).toHaveLength(length)
    }
  })

  it('a server that is silent is given up, and up again when it answers', async () => {
    await using fake = await FakeRedis.start()
    await using link = await startLink({ url: `redis://${fake.place}`, timeoutSeconds: 1, connectMs: 2000 })
    fake.isSilent = true
    const asked = fake.count('PING')
    link.clock.advance(1000)
    await until(() => fake.count('PING') > asked)
    expect(link.redis.isUp).toBe(true)
    link.clock.advance(3500)
    await until(() => !link.redis.isUp)

    // A connection is made, but nobody logs in over it.
    link.clock.advance(75)
    await until(() => fake.connections === 2)
    expect(link.redis.isUp).toBe(false)
    link.clock.advance(2000)
    fake.isSilent = false
    await until(() => link.clock.dueInMs !== undefined && link.clock.dueInMs <= 150)
    link.clock.advance(150)
    await until(() => link.redis.isUp)
  })

  it.each([
    ['LOADING Redis is loading the dataset in memory', 'PING'],
    ['MASTERDOWN Link with MASTER is down', 'PING'],
  ])('a server that says %s is not up', async (text, asked) => {
    let isUnfit = true
    await using fake = await FakeRedis.start(([name]) =>
      isUnfit && name === asked ? new Error(text) : undefined,
    )
    await using link = await startLink({ url: `redis://${fake.place}` })
    expect(link.redis.isUp).toBe(false)
    expect(link.lines.join()).toContain(text)
    isUnfit = false
    link.clock.advance(3000)
    await until(() => link.redis.isUp)
  })

  it('a master that became a replica is left by the first answer that says so', async () => {
    let role = 'master'
    await using fake = await FakeRedis.start(([name]) => {
      if (name === 'ROLE') return [role, 0, []]
      return name === 'SET' && role === 'slave' ? new Error("READONLY You can't write") : undefined
    })
    await using link = await startLink({ url: `redis://${fake.place}` })
    role = 'slave'
    await expect(link.redis.command('SET', 'k', 'v')).rejects.toMatchObject({
      code: 'REDIS_AWAY',
      reply: 'READONLY',
    })
    await until(() => !link.redis.isUp)
    link.clock.advance(100)
    await until(() => fake.count('ROLE') === 2)
    expect(link.redis.isUp).toBe(false)
    role = 'master'
    await eventually(() => {
      // A pause, and not the deadline of an attempt.
      const { dueInMs = 0 } = link.clock
      if (dueInMs <= 1000) link.clock.advance(dueInMs)
      expect(link.redis.isUp).toBe(true)
    })
  })

  it('who may not ask for the role is taken at the word of the first write', async () => {
    await using fake = await FakeRedis.start(([name]) =>
      name === 'ROLE'
        ? new Error("NOPERM this user has no permissions to run the 'role' command")
        : undefined,
    )
    await using link = await startLink({ url: `redis://${fake.place}` })
    expect(link.redis.isUp).toBe(true)
  })

  it.each([
    ['NOAUTH Authentication required.', 'PING', 'set redis.password'],
    ['WRONGPASS invalid username-password pair', 'AUTH', 'redis.user or redis.password is wrong'],
    ['NOPERM no permissions', 'PING', 'the ACL of redis.user'],
  ])('%s is an error in the log that says what to do, and shows no password', async (text, asked, advice) => {
    await using fake = await FakeRedis.start(([name]) => (name === asked ? new Error(text) : undefined))
    await using link = await startLink({ url: `redis://me:hidden@${fake.place}` })
    expect(link.redis.isUp).toBe(false)
    expect(link.lines).toEqual([expect.stringMatching(/"level":"error"/)])
    expect(link.lines[0]).toContain(advice)
    expect(link.lines[0]).not.toContain('hidden')
  })

  it.each([
    ['HTTP/1.1 400 Bad Request\r\n\r\n', 'what answers there is no Redis'],
    [':1\r\n:2\r\n:3\r\n', 'it answered what was not asked'],
  ])('a server that says %j is none', async (text, reason) => {
    await using fake = await FakeRedis.start()
    fake.isSilent = true
    await using link = makeLink({ url: `redis://${fake.place}` })
    const started = link.redis.start()
    await until(() => fake.count('PING') === 1)
    fake.write(text)
    await started
    expect(link.redis.isUp).toBe(false)
    expect(link.lines).toEqual([expect.stringContaining(reason)])
  })

  it('a password that is not wanted does no harm', async () => {
    await using fake = await FakeRedis.start(([name]) =>
      name === 'AUTH' ? new Error('ERR AUTH <password> called without any password configured') : undefined,
    )
    await using link = await startLink({ url: `redis://:pw@${fake.place}/4` })
    expect(link.redis.isUp).toBe(true)
    expect(fake.commands.slice(0, 3)).toEqual([['AUTH', 'pw'], ['SELECT', '4'], ['PING']])
  })
})

describe('a scan', () => {
  it('goes on until the end, and gives each key once', async () => {
    const answers = new Map([
      ['0', ['7', ['a', 'b']]],
      ['7', ['0', ['b', 'c']]],
    ])
    await using fake = await FakeRedis.start(([name, cursor = '']) =>
      name === 'SCAN' ? answers.get(cursor) : undefined,
    )
    await using link = await startLink({ url: `redis://${fake.place}` })
    expect(await link.redis.scan('p:*', 10)).toEqual(['a', 'b', 'c'])
    expect(fake.commands.at(-1)).toEqual(['SCAN', '7', 'MATCH', 'p:*', 'COUNT', '1000'])
    expect(await link.redis.scan('p:*', 1)).toEqual(['a'])
  })

  it('of a Redis that is away fails', async () => {
    await using link = makeLink({ url: 'redis://127.0.0.1' })
    await expect(link.redis.scan('*', 1)).rejects.toMatchObject({ code: 'REDIS_AWAY' })
  })
})

describe('the end', () => {
  it('leaves no timer and no connection, whatever was going on', async () => {
    await using fake = await FakeRedis.start()
    const link = await startLink({ url: `redis://${fake.place}` })
    link.redis.subscribe('a', () => undefined)
    await until(() => fake.count('SUBSCRIBE') === 1)
    const cut = link.redis.command('GET', 'k')
    await link.redis.close()
    await expect(cut).rejects.toMatchObject({ code: 'REDIS_SLOW' })
    await expect(link.redis.command('GET', 'k')).rejects.toMatchObject({ code: 'REDIS_AWAY' })
    await link.redis.close()
    expect(link.clock.pending).toBe(0)
    expect(link.redis.isUp).toBe(false)
    expect(link.changes).toEqual([true])
  })

  it('before it has begun', async () => {
    await using fake = await FakeRedis.start()
    const link = makeLink({ url: `redis://${fake.place}` })
    const started = link.redis.start()
    await link.redis.close()
    await started
    // Had one been made, it would be there before this one.
    await using other = await startLink({ url: `redis://${fake.place}` })
    expect(other.redis.isUp).toBe(true)
    expect(fake.connections).toBe(1)
    expect(link.clock.pending).toBe(0)
  })

  it('while Redis is away', async () => {
    await using fake = await FakeRedis.start()
    const link = await startLink({ url: `redis://${fake.place}` })
    await fake.stop()
    await until(() => !link.redis.isUp)
    expect(link.clock.pending).toBe(1)
    await link.redis.close()
    expect(link.clock.pending).toBe(0)
  })

  it('while it connects', async () => {
    await using fake = await FakeRedis.start()
    fake.isSilent = true
    const link = makeLink({ url: `redis://${fake.place}` })
    const started = link.redis.start()
    await until(() => fake.count('PING') === 1)
    await link.redis.close()
    await started
    expect(link.clock.pending).toBe(0)
  })

  it('of a start that nobody wants any longer', async () => {
    await using fake = await FakeRedis.start()
    fake.isSilent = true
    await using link = makeLink({ url: `redis://${fake.place}` })
    const stop = new AbortController()
    const started = link.redis.start({ signal: stop.signal })
    await until(() => fake.count('PING') === 1)
    stop.abort()
    await expect(started).rejects.toThrow('abort')
  })
})

describe('options', () => {
  it.each([
    [{ url: 'redis://:hidden@h:0' }, 'redis.url'],
    [{ url: 'redis://h', timeoutSeconds: 0 }, 'redis.timeoutSeconds is 0; must be 0.01 to 60'],
    [{ url: 'redis://h', maxInFlight: 0 }, 'redis.maxInFlight'],
    [{ url: 'redis://h', prefix: '{x}' }, 'redis.prefix'],
    [{}, 'one of redis.url, redis.sentinels and redis.cluster'],
  ])('%j is an error', (options, message) => {
    expect(() => makeLink(options)).toThrow(message)
    expect(() => makeLink(options)).not.toThrow('hidden')
  })

  it('files of TLS that cannot be used are an error at the start, and not tried again', async () => {
    await using absent = makeLink({ url: 'rediss://127.0.0.1', tls: { ca: '/nonexistent/ca.pem' } })
    await expect(absent.redis.start()).rejects.toThrow('redis.tls.ca: ENOENT')
    const file = import.meta.filename
    await using wrong = makeLink({ url: 'rediss://127.0.0.1', tls: { certFile: file, keyFile: file } })
    await expect(wrong.redis.start()).rejects.toMatchObject({ code: 'REDIS_BAD_OPTION' })
    expect(wrong.clock.pending).toBe(0)
  })
})
