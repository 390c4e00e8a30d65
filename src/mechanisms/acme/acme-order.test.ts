import { X509Certificate } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from 'node:tls'
import { once } from 'node:events'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { makeCertificate } from '../net/certificate.testkit.ts'
import { AcmeBench } from './acme-bench.testkit.ts'
import { systemClock } from '../../foundation/clock.ts'
import { AcmeStore } from './acme-store.ts'
import { completeAcmeOptions } from './acme-options.ts'
import { orderCertificate } from './acme-order.ts'
import { ChallengeAnswers } from './challenge-answers.ts'

const patience = { timeout: 15_000 }
const names = ({ certificates }: AcmeBench): string | undefined => {
  const [first] = certificates.certificates
  return first === undefined ? undefined : new X509Certificate(first.cert).subjectAltName
}
const isDone = async (bench: AcmeBench): Promise<void> => {
  await expect.poll(() => names(bench), patience).toBe('DNS:a.test, DNS:b.test')
}

afterEach(() => vi.unstubAllEnvs())

describe('a certificate by ACME', () => {
  it.each(['http-01', 'tls-alpn-01'] as const)(
    'is had by %s, and shown by listeners at once',
    async (challenge) => {
      await using bench = await AcmeBench.start({ challenge, email: 'ops@a.test' })
      // Meanwhile there is one that signs itself.
      expect(bench.certificates.certificates).toHaveLength(1)
      const early = connect({ port: bench.listener.port ?? 0, host: '127.0.0.1', rejectUnauthorized: false })
      await once(early, 'secureConnect')
      await isDone(bench)

      const client = connect({
        port: bench.listener.port ?? 0,
        host: '127.0.0.1',
        servername: 'b.test',
        ca: bench.authority.root,
        ALPNProtocols: ['http/1.1'],
      })
      await once(client, 'secureConnect')
      client.write('new')
      await expect.poll(() => bench.received).toContain('new')
      // Who came before goes on.
      early.write('old')
      await expect.poll(() => bench.received).toContain('old')
      early.destroy()
      client.destroy()

      expect(bench.authority.contacts).toEqual([['mailto:ops@a.test']])
      expect(bench.certificates.challenges.size).toBe(0)
      expect(bench.listener.counts.failedHandshakes).toBe(0)
      await expect.poll(() => bench.metric('sluice_acme_attempts_total', 'done')).toBe(1)
      const expiry = await bench.metric('sluice_tls_certificate_expiry_seconds', 'a.test')
      expect((expiry ?? 0) * 1000 - Date.now()).toBeGreaterThan(89 * 86_400_000)
    },
  )

  it('is kept where only its owner reads, and taken from there at the next start', async () => {
    await using bench = await AcmeBench.start()
    await isDone(bench)
    await bench.certificates.close()
    const [own = ''] = await readdir(bench.folder)
    const files = await readdir(join(bench.folder, own))
    expect(files.toSorted()).toEqual(['account.json', 'certificate.pem'])
    for (const file of files) expect((await stat(join(bench.folder, own, file))).mode & 0o777).toBe(0o600)
    expect((await stat(join(bench.folder, own))).mode & 0o777).toBe(0o700)
    const before = bench.authority.requests.length
    await bench.certificates.start()
    bench.certificates.obtain()
    expect(names(bench)).toBe('DNS:a.test, DNS:b.test')
    expect(bench.authority.requests.length).toBe(before)
  })

  it('uses one account for all orders, and another when the authority has lost it', async () => {
    await using bench = await AcmeBench.start()
    await isDone(bench)
    const parts = {
      options: completeAcmeOptions({
        folder: bench.folder,
        directoryUrl: bench.authority.directoryUrl,
        domains: ['a.test'],
        pollMs: 10,
      }),
      store: new AcmeStore(bench.folder, bench.authority.directoryUrl),
      answers: bench.certificates.handlers[0] as ChallengeAnswers,
      clock: systemClock,
      signal: new AbortController().signal,
    }
    await orderCertificate(parts)
    expect(bench.authority.accounts).toBe(1)
    expect(bench.authority.requests.filter((path) => path === '/account')).toHaveLength(1)
    bench.authority.forgetAccounts()
    await expect(orderCertificate(parts)).rejects.toMatchObject({
      code: 'ACME_REFUSED',
      message: expect.stringContaining('accountDoesNotExist'),
    })
    await orderCertificate(parts)
    expect(bench.authority.requests.filter((path) => path === '/account')).toHaveLength(2)
  })

  it('binds its account to one that the authority knows', async () => {
    const externalAccount = { kid: 'kid-1', hmacKey: Buffer.from('a secret of both').toString('base64url') }
    await using bench = await AcmeBench.start({ externalAccount }, { externalAccount })
    await isDone(bench)
  })

  it('is had over HTTPS from an authority that signs its own directory', async () => {
    const certificate = await makeCertificate()
    const folder = await mkdtemp(join(tmpdir(), 'sluice-acme-'))
    const ca = join(folder, 'ca.pem')
    await writeFile(ca, certificate.cert)
    await using trusting = await AcmeBench.start({ ca }, { certificate })
    await using doubting = await AcmeBench.start({}, { certificate })
    await isDone(trusting)
    await expect.poll(() => doubting.metric('sluice_acme_attempts_total', 'ACME_REFUSED'), patience).toBe(1)
    expect(doubting.authority.requests).toEqual([])
    await rm(folder, { recursive: true })
  })

  it('asks again with the nonce that it is given', async () => {
    await using bench = await AcmeBench.start(
      {},
      { refuseFirst: { path: '/order', refusal: ['badNonce', 'again'] } },
    )
    await isDone(bench)
    expect(bench.authority.requests.filter((path) => path === '/order')).toHaveLength(2)
  })

  it('goes through no proxy that the environment names', async () => {
    for (const name of ['HTTP_PROXY', 'http_proxy', 'HTTPS_PROXY', 'https_proxy', 'ALL_PROXY', 'all_proxy']) {
      vi.stubEnv(name, 'http://127.0.0.1:9')
    }
    vi.stubEnv('NO_PROXY', '')
    vi.stubEnv('no_proxy', '')
    await using bench = await AcmeBench.start()
    await isDone(bench)
  })
})

describe('an order that fails', () => {
  const fails = async (bench: AcmeBench, code: string): Promise<void> => {
    await expect.poll(() => bench.metric('sluice_acme_attempts_total', code), patience).toBe(1)
    // The listeners go on with what they have.
    expect(bench.certificates.certificates).toHaveLength(1)
    expect(bench.certificates.challenges.size).toBe(0)
  }

  it('for want of the answer to its challenge', async () => {
    await using bench = await AcmeBench.start({}, { ports: { http: () => 9, tls: () => 9 } })
    await fails(bench, 'ACME_UNPROVEN')
    const [own = ''] = await readdir(bench.folder)
    const account: unknown = JSON.parse(await readFile(join(bench.folder, own, 'account.json'), 'utf8'))
    expect(account).toMatchObject({ failed: { count: 1, domains: ['a.test', 'b.test'] } })
  })

  it('for want of the kind of challenge', async () => {
    await using bench = await AcmeBench.start({ challenge: 'tls-alpn-01' }, { challenges: ['http-01'] })
    await fails(bench, 'ACME_NO_CHALLENGE')
  })

  it('for a binding that the authority does not know', async () => {
    const hmacKey = Buffer.from('one').toString('base64url')
    const known = { kid: 'k', hmacKey: Buffer.from('another').toString('base64url') }
    await using bench = await AcmeBench.start(
      { externalAccount: { kid: 'k', hmacKey } },
      { externalAccount: known },
    )
    await fails(bench, 'ACME_REFUSED')
  })

  it('for a limit of the authority, and then waits as long as it says', async () => {
    await using bench = await AcmeBench.start(
      {},
      { refuseFirst: { path: '/order', refusal: ['rateLimited', 'too many', 429, '86400'] } },
    )
    await fails(bench, 'ACME_REFUSED')
    const [own = ''] = await readdir(bench.folder)
    const read = async (): Promise<number> => {
      const account = JSON.parse(await readFile(join(bench.folder, own, 'account.json'), 'utf8')) as {
        failed?: { retryAtMs: number }
      }
      return account.failed?.retryAtMs ?? 0
    }
    await expect.poll(read).toBeGreaterThan(Date.now() + 86_000_000)
  })

  it('for an authority that does not answer, in bounded time', async () => {
    await using bench = await AcmeBench.start({ requestTimeoutMs: 100 }, { isSilent: true })
    await fails(bench, 'ACME_REFUSED')
  })

  it('for an authority that cannot be reached, and says why', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'sluice-acme-'))
    // Nothing listens there.
    const directoryUrl = 'http://127.0.0.1:1/directory'
    const order = orderCertificate({
      options: completeAcmeOptions({ folder, directoryUrl, domains: ['a.test'] }),
      store: new AcmeStore(folder, directoryUrl),
      answers: new ChallengeAnswers(),
      clock: systemClock,
      signal: new AbortController().signal,
    })
    await expect(order).rejects.toMatchObject({
      code: 'ACME_REFUSED',
      message: expect.stringContaining('ECONNREFUSED'),
    })
    await rm(folder, { recursive: true })
  })

  it('for an authority that never comes to an end', async () => {
    await using bench = await AcmeBench.start({ orderTimeoutMs: 500 }, { isUndecided: true })
    await fails(bench, 'ACME_LATE')
  })

  it('because it is closed, at once', async () => {
    await using bench = await AcmeBench.start({}, { isSilent: true })
    await bench.certificates.close()
    expect(await bench.metric('sluice_acme_attempts_total', 'ACME_REFUSED')).toBeUndefined()
  })
})
