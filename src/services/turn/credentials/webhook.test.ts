import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { ManualClock } from '../../../foundation/clock.ts'
import { longTermKey, userhash } from '../../../protocols/stun/index.ts'
import type { Credential } from './contract.ts'
import { claimOf, hiddenClaimOf, isProvedBy } from './credentials.testkit.ts'
import { Webhook, type WebhookOptions } from './webhook.ts'

const nowMs = 1_700_000_000_000
const token = 't0ken-of-the-webhook'
const password = 'pa55word-of-alice'

/** What the service was asked, and how to answer. */
interface Question {
  readonly method: string | undefined
  readonly url: string | undefined
  readonly headers: IncomingMessage['headers']
  readonly body: unknown
  readonly response: ServerResponse
}

type Answer = (question: Question) => void

const closers: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

async function open(answer: Answer, options: Partial<WebhookOptions> = {}) {
  const questions: Question[] = []
  const waiting: (() => void)[] = []
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const { method, url, headers } = request
      const body: unknown = JSON.parse(Buffer.concat(chunks).toString())
      const question = { method, url, headers, body, response }
      questions.push(question)
      answer(question)
      for (const wake of waiting.splice(0)) wake()
    })
  })
  const url = await listen(server)
  const clock = new ManualClock(nowMs)
  const webhook = new Webhook({ url: `${url}/who?x=1`, token, clock, ...options })
  closers.push(() => webhook.close())
  const asked = async (count: number): Promise<void> => {
    while (questions.length < count) await new Promise<void>((resolve) => waiting.push(resolve))
  }
  return { clock, webhook, server, questions, asked, find: findWith(webhook) }
}

function findWith(webhook: Webhook) {
  return async (...claim: Parameters<typeof claimOf>): Promise<readonly Credential[]> =>
    await webhook.find(claimOf(...claim))
}

async function listen(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closers.push(async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

const send =
  (status: number, body: string, headers: Record<string, string> = {}): Answer =>
  ({ response }) => {
    response.writeHead(status, headers)
    response.end(body)
  }

const sendJson = (body: unknown, headers: Record<string, string> = {}): Answer =>
  send(200, JSON.stringify(body), headers)

const sendAlice = (fields: object = {}, headers: Record<string, string> = {}): Answer =>
  sendJson({ credentials: [{ password, ...fields }] }, headers)

describe('a webhook', () => {
  it('is asked as it is written down', async () => {
    const { find, questions } = await open(sendAlice())
    await find('alice')
    const [question] = questions
    expect(question).toMatchObject({
      method: 'POST',
      url: '/who?x=1',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
      body: { username: 'alice', realm: 'example.org', clientAddress: '192.0.2.1', listener: 'udp' },
    })
  })

  it('sends no Authorization without a token', async () => {
    const { questions, server } = await open(sendAlice())
    const { port } = server.address() as AddressInfo
    const webhook = new Webhook({ url: `http://127.0.0.1:${port}/` })
    closers.push(() => webhook.close())
    expect(await webhook.find(claimOf('alice'))).toHaveLength(1)
    expect(questions[0]?.headers).not.toHaveProperty('authorization')
  })

  it('tells a password, by which the client is proved', async () => {
    const { find } = await open(sendAlice())
    const [found] = await find('alice')
    expect(found).toMatchObject({ username: 'alice', userId: 'alice' })
    expect(found && isProvedBy(found, claimOf('alice'), password)).toBe(true)
    expect(found && isProvedBy(found, claimOf('alice'), password, 'sha256')).toBe(true)
  })

  it('tells keys, ends, names and bounds', async () => {
    const md5 = longTermKey('alice', 'example.org', 'x')
    const sha256 = longTermKey('alice', 'example.org', 'x', 'sha256')
    const expiresAt = nowMs / 1000 + 60
    const { find, webhook } = await open(
      sendJson({
        credentials: [
          { key: md5.toString('hex'), userId: 'team-a', expiresAt, strict: true, maxAllocations: 4 },
          { key: sha256.toString('hex'), userId: 'team-b', other: 'ignored' },
        ],
      }),
    )
    const found = await find('alice')
    expect(found).toMatchObject([
      { username: 'alice', userId: 'team-a', expiresAtMs: nowMs + 60_000, isStrict: true },
      { username: 'alice', userId: 'team-b' },
    ])
    expect(found.map((it) => [it.key('md5'), it.key('sha256')])).toEqual([
      [md5, undefined],
      [undefined, sha256],
    ])
    expect(['team-a', 'team-b', 'alice'].map((user) => webhook.maxAllocations(user))).toEqual([
      4,
      undefined,
      undefined,
    ])
  })

  it('is asked about a userhash, and tells the name that belongs to it', async () => {
    const hash = userhash('alice', 'example.org')
    const { webhook, questions } = await open(sendAlice({ username: 'alice' }))
    const received = Uint8Array.from(hash)
    const found = webhook.find(hiddenClaimOf(received))
    received.fill(0)
    expect(await found).toMatchObject([{ username: 'alice', userId: 'alice' }])
    expect(questions[0]?.body).toEqual({
      userhash: hash.toString('hex'),
      realm: 'example.org',
      clientAddress: '192.0.2.1',
      listener: 'udp',
    })
    expect(webhook.find({ realm: 'r', clientAddress: '192.0.2.1', listener: 'udp' })).toEqual([])
  })

  it.each([
    ['a userhash without a name', {}],
    ['a userhash with another name', { username: 'bob' }],
  ])('cannot answer %s', async (_, fields) => {
    const { webhook } = await open(sendAlice(fields))
    await expect(webhook.find(hiddenClaimOf(userhash('alice', 'example.org')))).rejects.toMatchObject({
      code: 'TURN_WEBHOOK_BAD_ANSWER',
    })
  })

  it.each([403, 404])('that says %d knows nobody of that name', async (status) => {
    const { find } = await open(send(status, 'whatever'))
    expect(await find('alice')).toEqual([])
  })

  it('that knows credentials that ended knows none', async () => {
    const { find } = await open(sendAlice({ expiresAt: nowMs / 1000 - 1 }))
    expect(await find('alice')).toEqual([])
  })

  it.each<[string, Answer]>([
    ['status 500', send(500, password)],
    ['status 401', send(401, password)],
    ['a redirect, which is not followed', send(302, '', { location: '/elsewhere' })],
    ['no JSON', send(200, password)],
    ['nothing', send(200, '')],
    ['a list', sendJson([{ password }])],
    ['no credentials', sendJson({ password })],
    ['neither password nor key', sendJson({ credentials: [{}] })],
    ['both', sendAlice({ key: '0'.repeat(32) })],
    ['a key of a wrong size', sendJson({ credentials: [{ key: password }] })],
    ['a password with a control', sendAlice({ password: `${password}\n` })],
    ['another user', sendAlice({ username: 'bob' })],
    ['a text for a time', sendAlice({ expiresAt: '2030' })],
    ['a time beyond all times', sendAlice({ expiresAt: 1e300 })],
    ['a bound below 0', sendAlice({ maxAllocations: -1 })],
    [
      'more credentials than are tried',
      sendJson({ credentials: Array.from({ length: 9 }, () => ({ password })) }),
    ],
    ['more bytes than are read', sendAlice({ x: 'x'.repeat(20_000) })],
    [
      'more bytes than are read, in pieces',
      ({ response }) => {
        for (let i = 0; i < 20; i++) response.write('x'.repeat(1000))
        response.end()
      },
    ],
  ])('that answers with %s fails, and no secret is told', async (_, answer) => {
    const { find } = await open(answer)
    const error: unknown = await find('alice').catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'TURN_WEBHOOK_BAD_ANSWER', side: 'self', retryable: true })
    expect(String(error)).not.toContain(password)
    expect(String(error)).not.toContain(token)
  })

  it('that is not there fails', async () => {
    const { find, server } = await open(sendAlice())
    await new Promise((resolve) => server.close(resolve))
    await expect(find('alice')).rejects.toMatchObject({ code: 'TURN_WEBHOOK_UNREACHABLE' })
  })

  it('that breaks off fails, and is asked again the next time', async () => {
    let isBroken = true
    const { find } = await open((question) => {
      if (isBroken) question.response.destroy()
      else sendAlice()(question)
    })
    await expect(find('alice')).rejects.toMatchObject({ code: 'TURN_WEBHOOK_UNREACHABLE' })
    isBroken = false
    expect(await find('alice')).toHaveLength(1)
  })

  it.each<[string, Answer]>([
    ['does not answer', () => {}],
    ['begins an answer', ({ response }) => response.write('{')],
  ])('that %s in time fails', async (_, answer) => {
    const { clock, find, asked } = await open(answer)
    const found = expect(find('alice')).rejects.toMatchObject({ code: 'TURN_WEBHOOK_TIMEOUT' })
    await asked(1)
    expect(clock.pending).toBe(1)
    clock.advance(2000)
    await found
    expect(clock.pending).toBe(0)
  })

  it('leaves no timer behind an answer', async () => {
    const { clock, find } = await open(sendAlice())
    await find('alice')
    expect(clock.pending).toBe(0)
  })

  it('is asked once by all who ask the same at the same time', async () => {
    const { find, questions } = await open(sendAlice())
    const found = await Promise.all([find('alice'), find('alice'), find('alice'), find('bob')])
    expect(questions).toHaveLength(2)
    expect(found[1]).toBe(found[0])
    expect(found[3]).not.toBe(found[0])
  })

  it('is asked by no more than may wait', async () => {
    const { find, questions, asked } = await open(() => {}, { maxInFlight: 2 })
    const held = [find('a'), find('b')]
    const shared = find('a')
    await expect(find('c')).rejects.toMatchObject({ code: 'TURN_WEBHOOK_BUSY', retryable: true })
    await asked(2)
    for (const question of questions) sendAlice()(question)
    expect(await Promise.all([...held, shared])).toHaveLength(3)
    const next = find('c')
    await asked(3)
    sendAlice()(questions[2] as Question)
    expect(await next).toHaveLength(1)
  })

  it('ends what it is asked when it is closed, and answers nothing afterwards', async () => {
    const { find, webhook, asked, clock } = await open(() => {})
    const found = expect(find('alice')).rejects.toMatchObject({ code: 'TURN_WEBHOOK_CLOSED' })
    await asked(1)
    await webhook.close()
    await webhook.close()
    await found
    await expect(find('bob')).rejects.toMatchObject({ code: 'TURN_WEBHOOK_CLOSED' })
    expect(clock.pending).toBe(0)
  })
})

describe('what a webhook answered', () => {
  const maxAge = (value: string) => ({ 'cache-control': value })

  it.each<[string, Answer, number]>([
    ['for half a minute', sendAlice(), 30],
    ['for 5 seconds when nobody is known', send(404, ''), 5],
    ['for 5 seconds when there are no credentials', sendJson({ credentials: [] }), 5],
    ['as long as it says', sendAlice({}, maxAge('private, Max-Age=90')), 90],
    ['as long as it says when nobody is known', send(403, '', maxAge('max-age=60')), 60],
    ['as long as is allowed', sendAlice({}, maxAge('max-age=86400')), 300],
    ['for its own time when the age is none', sendAlice({}, maxAge('max-age=soon, s-maxage=9')), 30],
  ])('is remembered %s', async (_, answer, seconds) => {
    const { clock, find, questions } = await open(answer)
    const first = await find('alice')
    clock.advance(seconds * 1000 - 1)
    expect(await find('alice')).toEqual(first)
    expect(questions).toHaveLength(1)
    clock.advance(1)
    await find('alice')
    expect(questions).toHaveLength(2)
  })

  it('is at hand at once, with the keys that were made', async () => {
    const { find, webhook } = await open(sendAlice())
    const [first] = await find('alice')
    const key = first?.key('md5')
    const again = webhook.find(claimOf('alice'))
    expect(again).toBeInstanceOf(Array)
    expect((await again)[0]?.key('md5')).toBe(key)
  })

  it.each<[string, Answer, Partial<WebhookOptions>]>([
    ['with max-age=0', sendAlice({}, maxAge('max-age=0')), {}],
    ['with no-store', sendAlice({}, maxAge('no-store, max-age=60')), {}],
    ['with no-cache', send(404, '', maxAge('no-cache')), {}],
    ['without room', sendAlice(), { maxRemembered: 0 }],
    ['without time', sendAlice(), { rememberSeconds: 0 }],
  ])('is not remembered %s', async (_, answer, options) => {
    const { find, questions } = await open(answer, options)
    await find('alice')
    await find('alice')
    expect(questions).toHaveLength(2)
  })

  it('is not remembered when it was of no use', async () => {
    const { find, questions } = await open(send(500, ''))
    await find('alice').catch(() => {})
    await find('alice').catch(() => {})
    expect(questions).toHaveLength(2)
  })

  it('is remembered for each client address, listener and realm by itself', async () => {
    const { find, questions } = await open(sendAlice())
    await find('alice')
    await find('alice', { clientAddress: '192.0.2.2' })
    await find('alice', { listener: 'tls' })
    await find('alice', { realm: 'example.com' })
    expect(questions).toHaveLength(4)
  })

  it('ends with the credential itself', async () => {
    const { clock, find, questions } = await open(sendAlice({ expiresAt: nowMs / 1000 + 10 }))
    expect(await find('alice')).toHaveLength(1)
    clock.advance(10_000)
    expect(await find('alice')).toHaveLength(1)
    clock.advance(1)
    expect(await find('alice')).toEqual([])
    expect(questions).toHaveLength(1)
  })

  it('is forgotten for newer ones, but not for names that nobody has', async () => {
    const answer: Answer = (question) => {
      const { username } = question.body as { username: string }
      if (username.startsWith('guess')) send(404, '')(question)
      else sendAlice()(question)
    }
    const { find, questions } = await open(answer, { maxRemembered: 2 })
    await find('alice')
    for (const guess of ['guess1', 'guess2', 'guess3']) await find(guess)
    await find('alice')
    expect(questions).toHaveLength(4)
    await find('bob')
    await find('carol')
    await find('alice')
    expect(questions).toHaveLength(7)
  })

  it('of a bound holds until it is answered otherwise', async () => {
    let fields: object = { maxAllocations: 2 }
    const { clock, find, webhook } = await open((question) => sendAlice(fields)(question))
    await find('alice')
    expect(webhook.maxAllocations('alice')).toBe(2)
    fields = {}
    clock.advance(30_000)
    await find('alice')
    expect(webhook.maxAllocations('alice')).toBeUndefined()
  })
})

describe('a webhook is not made', () => {
  it.each<[string, Partial<WebhookOptions>]>([
    ['without a URL', { url: '' }],
    ['with a path only', { url: '/who' }],
    ['with another scheme', { url: 'file:///etc/passwd' }],
    ['with a password in its URL', { url: 'https://u:hunter2@127.0.0.1/' }],
    ['without time', { timeoutMs: 0 }],
    ['without a question', { maxInFlight: 0 }],
    ['with half an answer', { maxRemembered: 0.5 }],
    ['with a time below 0', { rememberSeconds: -1 }],
    ['with no bytes', { maxAnswerBytes: 0 }],
  ])('%s', (_, options) => {
    let thrown: unknown
    try {
      // The constructor opens nothing that would have to be closed.
      thrown = new Webhook({ url: 'http://127.0.0.1:1/', ...options })
    } catch (error) {
      thrown = error
    }
    expect(thrown).toMatchObject({ code: 'TURN_CREDENTIAL_BAD_OPTION' })
    expect(String(thrown)).not.toContain('hunter2')
  })
})
