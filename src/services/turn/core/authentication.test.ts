import { describe, expect, it } from 'vitest'
import {
  longTermKey,
  StunAttribute,
  StunClass,
  StunMethod,
  StunWriter,
} from '../../../protocols/stun/index.ts'
import type { Credential, CredentialSource } from '../credentials/contract.ts'
import { NoCredentials } from '../credentials/no-credentials.ts'
import { StaticUsers } from '../credentials/static-users.ts'
import { type Build, noAttributes, transaction, udpTransport, settle } from './test-client.testkit.ts'
import { TurnKit } from './turn-kit.testkit.ts'

const methods = [
  ['Allocate', StunMethod.allocate],
  ['Refresh', StunMethod.refresh],
  ['CreatePermission', StunMethod.createPermission],
  ['ChannelBind', StunMethod.channelBind],
  ['Connect', StunMethod.connect],
  ['ConnectionBind', StunMethod.connectionBind],
] as const

function bare(method: number, build: Build = noAttributes): Buffer {
  const writer = new StunWriter(method, StunClass.request, transaction())
  build(writer)
  return writer.finish()
}

describe('a request', () => {
  it.each(methods)('%s without integrity gets a challenge', async (_name, method) => {
    const kit = await TurnKit.open()
    const answer = await kit.client().ask(bare(method))
    expect(answer?.code).toBe(401)
    expect(answer?.message.text(StunAttribute.realm)).toBe('sluice')
    expect(answer?.message.attribute(StunAttribute.nonce)).toHaveLength(16)
    expect(answer?.message.attribute(StunAttribute.passwordAlgorithms)).toBeUndefined()
    expect(answer?.signed).toBeUndefined()
  })

  it.each([
    ['USERNAME', StunAttribute.username],
    ['REALM', StunAttribute.realm],
    ['NONCE', StunAttribute.nonce],
  ])('with integrity but without %s gets 400, and nothing else', async (_name, missing) => {
    const kit = await TurnKit.open()
    const client = kit.client()
    await client.challenge()
    const writer = new StunWriter(StunMethod.allocate, StunClass.request, transaction())
    udpTransport(writer)
    if (missing !== StunAttribute.username) writer.text(StunAttribute.username, 'alice')
    if (missing !== StunAttribute.realm) writer.text(StunAttribute.realm, 'sluice')
    if (missing !== StunAttribute.nonce) writer.attribute(StunAttribute.nonce, client.nonce)
    const answer = await client.ask(writer.integrity(longTermKey('alice', 'sluice', 'wonderland')).finish())
    expect([answer?.code, answer?.signed]).toEqual([400, undefined])
    expect([...(answer?.message.attributes() ?? [])].map(({ type }) => type)).toEqual([
      StunAttribute.errorCode,
    ])
  })

  it.each([
    ['an unknown user', { user: 'mallory', password: 'x' }],
    ['a wrong password', { user: 'alice', password: 'x' }],
    ['a name that is too long', { user: 'a'.repeat(513), password: 'x' }],
  ])('of %s gets no allocation', async (_title, options) => {
    const kit = await TurnKit.open()
    const client = kit.client()
    const answer = await client.request(StunMethod.allocate, udpTransport, options)
    expect(answer.code).toBe(options.user.length === 513 ? 400 : 401)
    expect(kit.held()).toMatchObject({ allocations: 0, endpoints: 0 })
    if (answer.code === 401) expect(answer.message.attribute(StunAttribute.nonce)).toHaveLength(16)
  })

  it('in another realm gets 401 with ours', async () => {
    const kit = await TurnKit.open()
    const client = kit.client()
    await client.challenge()
    client.realm = 'elsewhere'
    const answer = await client.request(StunMethod.allocate, udpTransport)
    expect([answer.code, answer.message.text(StunAttribute.realm)]).toEqual([401, 'sluice'])
  })

  it('that was changed on the way gets 401', async () => {
    const kit = await TurnKit.open()
    const client = kit.client()
    await client.challenge()
    const request = client.signed(StunMethod.allocate, udpTransport)
    request.writeUInt8(request.readUInt8(10) ^ 1, 10)
    expect((await client.ask(request))?.code).toBe(401)
  })

  it('with a nonce that has expired gets 438 with a fresh one, which is good', async () => {
    const kit = await TurnKit.open({ limits: { nonceSeconds: 600 } })
    const client = kit.client()
    await client.challenge()
    kit.clock.advance(600_000)
    await client.allocate()
    kit.clock.advance(1000)
    const answer = await client.ask(client.signed(StunMethod.refresh))
    expect([answer?.code, answer?.message.text(StunAttribute.realm)]).toEqual([438, 'sluice'])
    client.nonce = Uint8Array.from(answer?.message.attribute(StunAttribute.nonce) ?? [])
    expect((await client.ask(client.signed(StunMethod.refresh)))?.code).toBeUndefined()
  })

  it('with the nonce of another address or port gets 438, before anybody is asked', async () => {
    let asked = 0
    const users = new StaticUsers([{ username: 'alice', password: 'wonderland' }])
    const kit = await TurnKit.open({
      credentials: {
        find: (claim) => {
          asked++
          return users.find(claim)
        },
      },
    })
    const client = kit.client()
    await client.challenge()
    for (const other of [
      kit.client({ port: 41_000 }),
      kit.client({ address: '192.0.2.11' }),
      kit.streamClient(),
    ]) {
      other.nonce = client.nonce
      other.realm = client.realm
      expect((await other.ask(other.signed(StunMethod.allocate, udpTransport)))?.code).toBe(438)
    }
    expect(asked).toBe(0)
    await client.allocate()
    expect(asked).toBe(1)
  })

  it.each([
    ['that is no base64', '!'.repeat(16)],
    ['that is empty', ''],
    ['that is far too long', 'A'.repeat(763)],
  ])('with a nonce %s gets 438', async (_title, nonce) => {
    const kit = await TurnKit.open()
    const client = kit.client()
    await client.challenge()
    client.nonce = Buffer.from(nonce)
    const answer = await client.ask(client.signed(StunMethod.allocate, udpTransport))
    expect(answer?.code).toBe(438)
  })

  it('with unknown attributes is first asked who it is', async () => {
    const kit = await TurnKit.open()
    const unknown: Build = (writer) => writer.attribute(0x7001, new Uint8Array(4))
    expect((await kit.client().ask(bare(StunMethod.allocate, unknown)))?.code).toBe(401)
    expect((await kit.client().request(StunMethod.createPermission, unknown)).code).toBe(420)
  })

  it('whose FINGERPRINT is wrong is dropped', async () => {
    const kit = await TurnKit.open()
    const client = kit.client()
    await client.challenge()
    const request = client.signed(StunMethod.allocate, udpTransport, { hasFingerprint: true })
    request.writeUInt8(request.readUInt8(request.length - 1) ^ 1, request.length - 1)
    expect(await client.ask(request)).toBeUndefined()
    expect(kit.core.stats.malformed).toBe(1)
    const challenged = new StunWriter(StunMethod.allocate, StunClass.request, transaction())
      .fingerprint()
      .finish()
    expect((await client.ask(challenged))?.message.fingerprintOffset).toBeDefined()
  })

  it.each([
    ['of an unknown method', bare(0x0ff)],
    ['of Send', bare(StunMethod.send)],
    ['that is an answer', new StunWriter(StunMethod.allocate, StunClass.success, transaction()).finish()],
    ['that is a refusal', new StunWriter(StunMethod.allocate, StunClass.error, transaction()).finish()],
    [
      'that is an indication',
      new StunWriter(StunMethod.refresh, StunClass.indication, transaction()).finish(),
    ],
    ['with a wrong cookie', Buffer.concat([Buffer.from([0, 3, 0, 0]), Buffer.alloc(16)])],
    ['that is cut short', bare(StunMethod.allocate).subarray(0, 19)],
  ])('%s is passed over', async (_title, bytes) => {
    const kit = await TurnKit.open()
    const client = kit.client()
    client.put(bytes)
    await settle()
    expect(client.inbox).toEqual([])
  })
})

describe('Binding', () => {
  it('says the client its address, and nothing else', async () => {
    const kit = await TurnKit.open()
    const answer = await kit.client().ask(bare(StunMethod.binding))
    expect([...(answer?.message.attributes() ?? [])].map(({ type }) => type)).toEqual([
      StunAttribute.xorMappedAddress,
    ])
    expect(kit.core.stats.answers).toEqual(new Map([['binding success', 1]]))
  })

  it('with unknown attributes gets 420, and is not counted as a success', async () => {
    const kit = await TurnKit.open()
    const answer = await kit
      .client()
      .ask(bare(StunMethod.binding, (writer) => writer.u32(StunAttribute.changeRequest, 6)))
    expect(answer?.code).toBe(420)
    expect(kit.core.stats.answers).toEqual(new Map([['binding 420', 1]]))
  })

  it('names no more unknown attributes than an answer should carry', async () => {
    const kit = await TurnKit.open()
    const request = bare(StunMethod.binding, (writer) => {
      for (let type = 0x7000; type < 0x7100; type++) writer.attribute(type, new Uint8Array(0))
    })
    const answer = await kit.client().ask(request)
    expect(answer?.code).toBe(420)
    expect(answer?.message.bytes.length).toBeLessThan(80)
  })
})

describe('without credentials', () => {
  it('STUN is served and TURN refused with 403, so that clients do not try again', async () => {
    const kit = await TurnKit.open({ credentials: new NoCredentials() })
    expect((await kit.client().ask(bare(StunMethod.binding)))?.code).toBeUndefined()
    for (const [, method] of methods) expect((await kit.client().ask(bare(method)))?.code).toBe(403)
  })
})

describe('a source of credentials', () => {
  const users = new StaticUsers([{ username: 'alice', password: 'wonderland' }])
  const later = (answer: () => Promise<readonly Credential[]>): CredentialSource => ({ find: answer })

  function found(): readonly Credential[] {
    const credentials = users.find({
      username: 'alice',
      realm: 'sluice',
      clientAddress: '192.0.2.10',
      listener: 'udp',
    })
    return credentials
  }

  it('may take its time; the request’s bytes are gone by then', async () => {
    let resolve: (credentials: readonly Credential[]) => void = () => undefined
    const kit = await TurnKit.open({
      credentials: later(
        () =>
          new Promise((settled) => {
            resolve = settled
          }),
      ),
    })
    const client = kit.client()
    await client.challenge()
    const request = client.signed(StunMethod.allocate, udpTransport)
    client.put(request)
    request.fill(0)
    await settle()
    expect(client.inbox).toHaveLength(1)
    resolve(found())
    await settle()
    expect(client.read(client.inbox[1] ?? Buffer.alloc(0)).code).toBeUndefined()
    expect(kit.held()['allocations']).toBe(1)
  })

  it('that rejects makes the request fail with 500, and so does one that throws', async () => {
    const kit = await TurnKit.open({ credentials: later(() => Promise.reject(new Error('down'))) })
    expect((await kit.client().request(StunMethod.allocate, udpTransport)).code).toBe(500)
    const throwing = await TurnKit.open({
      credentials: {
        find: () => {
          throw new Error('bug')
        },
      },
    })
    expect((await throwing.client().request(StunMethod.allocate, udpTransport)).code).toBe(500)
  })

  it('is asked by no more requests at a time than are kept', async () => {
    let asked = 0
    const waiting: ((credentials: readonly Credential[]) => void)[] = []
    const kit = await TurnKit.open({
      limits: { strangerRepliesPerSecond: 0, totalStrangerRepliesPerSecond: 0, attemptsPerSecond: 0 },
      credentials: later(() => {
        asked++
        return new Promise((resolve) => waiting.push(resolve))
      }),
    })
    const client = kit.client()
    await client.challenge()
    for (let i = 0; i < 1100; i++) client.put(client.signed(StunMethod.refresh))
    const answeredBefore = client.inbox.length
    for (const resolve of waiting) resolve([])
    await settle()
    expect(client.inbox.length - answeredBefore).toBe(1024)
    expect(asked).toBeGreaterThanOrEqual(1024)
    client.put(client.signed(StunMethod.refresh))
    waiting.at(-1)?.([])
    await settle()
    expect(client.inbox.length - answeredBefore).toBe(1025)
  })

  it('is not asked for an address that tries too often, while others and owners of allocations are served', async () => {
    const kit = await TurnKit.open({ limits: { attemptsPerSecond: 5 } })
    const owner = kit.client()
    await owner.allocate()
    const guesser = kit.client({ port: 40_001 })
    await guesser.challenge()
    const before = guesser.inbox.length
    for (let i = 0; i < 50; i++) guesser.put(guesser.signed(StunMethod.refresh))
    await settle()
    // Two seconds' worth at once, one of which the owner has used.
    expect(guesser.inbox.length - before).toBe(9)
    expect(kit.core.unanswered).toBe(41)
    await owner.refresh()
    kit.clock.advance(1000)
    guesser.put(guesser.signed(StunMethod.refresh))
    await settle()
    expect(guesser.inbox.length - before).toBe(10)
  })

  it('may answer after the listener was closed', async () => {
    const waiting: ((credentials: readonly Credential[]) => void)[] = []
    const kit = await TurnKit.open({
      credentials: later(() => new Promise((resolve) => waiting.push(resolve))),
    })
    const client = kit.client()
    await client.challenge()
    client.put(client.signed(StunMethod.refresh))
    client.put(client.signed(StunMethod.allocate, udpTransport))
    await kit.udp.close()
    expect(waiting).toHaveLength(2)
    for (const resolve of waiting) resolve(found())
    await settle()
    await kit.udp.start()
  })

  it('may know several keys of one user, and is not asked again for an allocation', async () => {
    let asked = 0
    const old = new StaticUsers([{ username: 'alice', password: 'old' }])
    const kit = await TurnKit.open({
      credentials: {
        find: (claim) => {
          asked++
          return [...old.find(claim), ...users.find(claim)]
        },
      },
    })
    const { client } = await kit.allocated()
    await client.refresh(600)
    await client.permit('192.0.2.200')
    expect(asked).toBe(1)
    expect((await client.request(StunMethod.refresh, noAttributes, { password: 'old' })).code).toBeUndefined()
    expect(asked).toBe(2)
    expect((await client.request(StunMethod.refresh, noAttributes, { password: 'x' })).code).toBe(401)
  })
})
