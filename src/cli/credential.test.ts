import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { timeLimitedPassword } from '../services/turn/index.ts'
import { credential, type CredentialOptions } from './credential.ts'

let folder = ''
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sluice-credential-'))
})
afterAll(() => rm(folder, { recursive: true }))
afterEach(() => {
  vi.unstubAllEnvs()
  vi.restoreAllMocks()
})

async function fileWith(text: string): Promise<string> {
  const file = join(folder, 'secret')
  await writeFile(file, text)
  return file
}

async function configWith(turn: object): Promise<string> {
  const file = join(folder, 'sluice.json')
  await writeFile(file, JSON.stringify({ turn }))
  return file
}

async function printed(options: CredentialOptions): Promise<unknown> {
  const write = vi.spyOn(process.stdout, 'write').mockReturnValue(true)
  await credential(options)
  return JSON.parse(String(write.mock.lastCall?.[0]))
}

describe('sluice credential', () => {
  it('prints what the server takes, with the secret of a file', async () => {
    const before = Math.floor(Date.now() / 1000)
    const secretFile = await fileWith('north\nsouth\n')
    const shown = await printed({ secretFile, user: 'alice', ttl: '60', uri: ['turn:a.example'] })
    expect(shown).toMatchObject({ ttl: 60, uris: ['turn:a.example'] })
    const { username, password } = shown as { username: string; password: string }
    const [expires, user] = username.split(':')
    expect(user).toBe('alice')
    expect(Number(expires) - before).toBeGreaterThanOrEqual(60)
    expect(Number(expires) - before).toBeLessThan(70)
    expect(password).toBe(timeLimitedPassword('north', username))
  })

  it('prefers the file to the environment, and that to the configuration', async () => {
    const config = await configWith({
      uris: ['turn:c.example'],
      credentials: { secrets: ['configured', 'the one before'], ttlSeconds: 9, separator: '|' },
    })
    const secretOf = async (options: CredentialOptions) => {
      const shown = await printed({ user: 'u', config, ...options })
      expect(shown).toMatchObject({
        username: expect.stringMatching(/^\d+\|u$/),
        ttl: 9,
        uris: ['turn:c.example'],
      })
      const { username, password } = shown as { username: string; password: string }
      return ['file', 'environment', 'configured'].find(
        (it) => timeLimitedPassword(it, username) === password,
      )
    }
    vi.stubEnv('SLUICE_TURN_SECRET', '')
    expect(await secretOf({})).toBe('configured')
    vi.stubEnv('SLUICE_TURN_SECRET', 'environment')
    expect(await secretOf({})).toBe('environment')
    expect(await secretOf({ secretFile: await fileWith('file\r\n') })).toBe('file')
  })

  it('prefers flags to the configuration', async () => {
    const config = await configWith({
      uris: ['turn:c.example'],
      credentials: { secrets: ['configured'], ttlSeconds: 9 },
    })
    expect(await printed({ config, ttl: '60', uri: ['turn:a.example', 'turn:b.example'] })).toMatchObject({
      ttl: 60,
      uris: ['turn:a.example', 'turn:b.example'],
    })
  })

  it('makes none with a configuration that cannot be used', async () => {
    vi.stubEnv('SLUICE_TURN_SECRET', 'north')
    const config = await configWith({ uris: 'turn:c.example' })
    await expect(credential({ config })).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
  })

  it('prints what browsers take', async () => {
    const secretFile = await fileWith('north')
    const uri = ['turn:a.example:3478?transport=udp', 'turns:[2001:db8::1]:5349', 'stun:b.example']
    expect(await printed({ secretFile, uri, ice: true })).toEqual({
      iceServers: [{ urls: uri, username: expect.stringMatching(/^\d+$/), credential: expect.any(String) }],
    })
    expect(await printed({ secretFile, uri, relayOnly: true })).toMatchObject({ iceTransportPolicy: 'relay' })
  })

  it.each<[string, CredentialOptions, string]>([
    ['without a secret', {}, 'TURN_CREDENTIAL_NO_SECRET'],
    ['with a file that is not there', { secretFile: '/nowhere/secret' }, 'TURN_CREDENTIAL_NO_SECRET'],
    ['for 0 seconds', { ttl: '0' }, 'TURN_CREDENTIAL_BAD_REQUEST'],
    ['for a while', { ttl: '1h' }, 'TURN_CREDENTIAL_BAD_REQUEST'],
    ['for a user with the separator', { user: 'a:b' }, 'TURN_CREDENTIAL_BAD_REQUEST'],
    ['with a web page for a server', { uri: ['https://a.example'] }, 'TURN_CREDENTIAL_BAD_REQUEST'],
    ['for a browser without a server', { ice: true }, 'TURN_CREDENTIAL_NO_URIS'],
  ])('makes none %s', async (_, options, code) => {
    vi.stubEnv('SLUICE_TURN_SECRET', code === 'TURN_CREDENTIAL_NO_SECRET' ? '' : 'north')
    await expect(credential(options)).rejects.toMatchObject({ code })
  })

  it('makes none with a file whose first line is empty', async () => {
    await expect(credential({ secretFile: await fileWith('\nnorth') })).rejects.toMatchObject({
      code: 'TURN_CREDENTIAL_NO_SECRET',
    })
  })
})
