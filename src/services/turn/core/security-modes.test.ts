import { describe, expect, it } from 'vitest'
import {
  longTermKey,
  StunAttribute,
  StunClass,
  StunMethod,
  StunWriter,
  userhash,
  verifyMessageIntegritySha256,
} from '../../../protocols/stun/index.ts'
import { type Answer, transaction, type UdpTestClient, udpTransport } from './test-client.testkit.ts'
import { TurnKit } from './turn-kit.testkit.ts'

const offered = Uint8Array.of(0, 2, 0, 0, 0, 1, 0, 0)
const sha256 = Uint8Array.of(0, 2, 0, 0)
const md5 = Uint8Array.of(0, 1, 0, 0)

interface Signing {
  readonly list?: Uint8Array | undefined
  readonly choice?: Uint8Array | undefined
  readonly key?: 'md5' | 'sha256'
  readonly integrity?: 'sha1' | 'sha256' | 'both'
  readonly password?: string
  readonly isHidden?: boolean
}

async function allocate(client: UdpTestClient, signing: Signing): Promise<Answer> {
  await client.challenge()
  const { key = 'sha256', integrity = 'sha256', password = 'wonderland' } = signing
  const writer = new StunWriter(StunMethod.allocate, StunClass.request, transaction())
  udpTransport(writer)
  if (signing.isHidden === true) writer.attribute(StunAttribute.userhash, userhash('alice', client.realm))
  else writer.text(StunAttribute.username, 'alice')
  writer.text(StunAttribute.realm, client.realm).attribute(StunAttribute.nonce, client.nonce)
  if (signing.list !== undefined) writer.attribute(StunAttribute.passwordAlgorithms, signing.list)
  if (signing.choice !== undefined) writer.attribute(StunAttribute.passwordAlgorithm, signing.choice)
  const secret = longTermKey('alice', client.realm, password, key)
  if (integrity !== 'sha256') writer.integrity(secret)
  if (integrity !== 'sha1') writer.integritySha256(secret)
  const answer = await client.ask(writer.finish())
  if (answer === undefined) throw new TypeError('no answer')
  return answer
}

describe('security "sha256"', () => {
  it('is said in challenges, by the nonce and by a list', async () => {
    const kit = await TurnKit.open({ security: 'sha256' })
    const { message } = await kit.client().challenge()
    expect(message.text(StunAttribute.nonce)?.slice(0, 13)).toBe('obMatJos2gAAA')
    expect(message.attribute(StunAttribute.passwordAlgorithms)).toEqual(Buffer.from(offered))
  })

  it('takes SHA-256 and answers with it alone', async () => {
    const kit = await TurnKit.open({ security: 'sha256' })
    const answer = await allocate(kit.client(), { list: offered, choice: sha256 })
    expect(answer.code).toBeUndefined()
    expect(answer.message.integrityOffset).toBeUndefined()
    expect(
      verifyMessageIntegritySha256(answer.message, longTermKey('alice', 'sluice', 'wonderland', 'sha256')),
    ).toBe(true)
  })

  it('takes MD5 when it is chosen, and then answers with SHA-256 too', async () => {
    const kit = await TurnKit.open({ security: 'sha256' })
    const answer = await allocate(kit.client(), { list: offered, choice: md5, key: 'md5' })
    expect([answer.code, answer.signed]).toEqual([undefined, 'sha256'])
  })

  it('takes clients that know none of it', async () => {
    const kit = await TurnKit.open({ security: 'sha256' })
    const answer = await allocate(kit.client(), { key: 'md5', integrity: 'sha1' })
    expect([answer.code, answer.signed]).toEqual([undefined, 'sha1'])
  })

  it.each([
    ['the list was taken away', { choice: sha256 }],
    ['the choice was taken away', { list: offered }],
    ['the list was shortened', { list: md5, choice: md5, key: 'md5' as const }],
    ['the list was turned round', { list: Uint8Array.of(0, 1, 0, 0, 0, 2, 0, 0), choice: sha256 }],
    ['the choice was not offered', { list: offered, choice: Uint8Array.of(0, 3, 0, 0) }],
    ['the choice is of another size', { list: offered, choice: Uint8Array.of(0, 2) }],
  ])('refuses with 400 when %s', async (_title, signing) => {
    const kit = await TurnKit.open({ security: 'sha256' })
    expect((await allocate(kit.client(), signing)).code).toBe(400)
    expect(kit.held()['allocations']).toBe(0)
  })

  it('checks SHA-256 where both are there', async () => {
    const kit = await TurnKit.open({ security: 'sha256' })
    const client = kit.client()
    expect(
      (await allocate(client, { list: offered, choice: sha256, integrity: 'both' })).code,
    ).toBeUndefined()
    await client.refresh(0)
    expect(
      (await allocate(kit.client({ port: 5 }), { list: offered, choice: sha256, key: 'md5' })).code,
    ).toBe(401)
  })

  it('turns a wrong password away with 401', async () => {
    const kit = await TurnKit.open({ security: 'sha256' })
    const answer = await allocate(kit.client(), { list: offered, choice: sha256, password: 'x' })
    expect(answer.code).toBe(401)
    expect(answer.message.attribute(StunAttribute.passwordAlgorithms)).toEqual(Buffer.from(offered))
  })
})

describe('security "anonymity"', () => {
  it('is said by the nonce, and finds users by USERHASH', async () => {
    const kit = await TurnKit.open({ security: 'anonymity' })
    const client = kit.client()
    expect((await client.challenge()).message.text(StunAttribute.nonce)?.slice(0, 13)).toBe('obMatJos2wAAA')
    const answer = await allocate(client, { isHidden: true, list: offered, choice: sha256 })
    expect(answer.code).toBeUndefined()
    expect([...kit.state.allocations.all()][0]?.identity.credential.username).toBe('alice')
  })

  it('takes the name as well', async () => {
    const kit = await TurnKit.open({ security: 'anonymity' })
    expect((await allocate(kit.client(), { list: offered, choice: sha256 })).code).toBeUndefined()
  })
})

describe('security "none"', () => {
  it('offers nothing', async () => {
    const kit = await TurnKit.open()
    const { message } = await kit.client().challenge()
    expect(message.text(StunAttribute.nonce)).not.toContain('obMatJos2')
    expect((await allocate(kit.client(), { key: 'md5', integrity: 'sha1' })).code).toBeUndefined()
  })

  it('refuses nonces of another security with 438', async () => {
    const kit = await TurnKit.open({ security: 'sha256' })
    const client = kit.client()
    await client.challenge()
    kit.core.configure({ ...kit.state.settings, security: 'none' })
    expect((await client.ask(client.signed(StunMethod.allocate, udpTransport)))?.code).toBe(438)
  })
})
