import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { loadFrpcConfig, loadFrpsConfig } from '../mechanisms/frp-config/index.ts'
import { makeCertificate } from '../mechanisms/net/certificate.testkit.ts'
import { check } from './check.ts'

let folder = ''
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sluice-check-'))
})
afterAll(() => rm(folder, { recursive: true }))
afterEach(() => vi.restoreAllMocks())

/** What is said of a file with this text. */
async function checked(text: string): Promise<string> {
  const config = join(folder, 'sluice.toml')
  await writeFile(config, text)
  const write = vi.spyOn(process.stdout, 'write').mockReturnValue(true)
  await check({ config })
  return String(write.mock.lastCall?.[0])
}

const listener = (lines: string) => `[[turn.listeners]]\nname = "a"\nlisten = "127.0.0.1:0"\n${lines}\n`

describe('sluice check', () => {
  it('says in one line that a file is good', async () => {
    expect(await checked(listener('transport = "udp"'))).toBe(`${join(folder, 'sluice.toml')}: good\n`)
  })

  it('finds what the schema can tell, with the line', async () => {
    await expect(checked(listener('transport = "tls"'))).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining(
        'sluice.toml:1: turn.listeners[0].certFile: transport "tls" needs a certificate and its key',
      ),
    })
  })

  it('finds what only a start would, with the key', async () => {
    const files = 'transport = "tls"\ncertFile = "/nowhere/a.pem"\nkeyFile = "/nowhere/a.key"'
    await expect(checked(listener(files))).rejects.toMatchObject({
      code: 'NET_BAD_CERTIFICATE',
      message: expect.stringContaining('turn.listeners[0].certFile: /nowhere/a.pem with /nowhere/a.key'),
    })
    await expect(checked('[turn.peers]\nallow = ["10.0.0.0/33"]\n')).rejects.toMatchObject({
      code: 'PEERS_BAD_RULE',
      message: expect.stringContaining('turn.peers.allow[0] "10.0.0.0/33"'),
    })
  })

  it('finds nothing wrong with the examples, once their certificates are there', async () => {
    const examples = join(import.meta.dirname, '../../examples')
    const { cert, key } = await makeCertificate()
    await writeFile(join(folder, 'turn.example.com.pem'), cert)
    await writeFile(join(folder, 'turn.example.com.key'), key)
    const isOurs = (name: string): boolean => name.endsWith('.toml') && !name.startsWith('frp')
    const names = (await readdir(examples)).filter(isOurs)
    expect(names).toContain('turn.toml')
    for (const name of names) {
      const text = await readFile(join(examples, name), 'utf8')
      expect(await checked(text.replaceAll('/etc/sluice', folder))).toContain('good')
    }
  })

  it('finds nothing wrong with the examples of frp, in the way of frp', async () => {
    const examples = join(import.meta.dirname, '../../examples')
    const options = { env: { FRP_TOKEN: 'sesame' } }
    await expect(loadFrpsConfig(join(examples, 'frps.toml'), options)).resolves.toMatchObject({ notes: [] })
    for (const name of ['frpc.toml', 'frpc-origin.toml']) {
      await expect(loadFrpcConfig(join(examples, name), options)).resolves.toMatchObject({ notes: [] })
    }
  })
})
