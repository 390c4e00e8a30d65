import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { X509Certificate } from 'node:crypto'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { ManualClock } from '../../foundation/clock.ts'
import type { Certificate } from '../net/index.ts'
import { createLogger, createRegistry, type Registry, silentLogger } from '../telemetry/index.ts'
import { makeCertificateFor } from './certificate-for.testkit.ts'
import { TlsCertificates, type TlsCertificatesOptions } from './tls-certificates.ts'

let folder: string
let clock: ManualClock
let registry: Registry
const running: TlsCertificates[] = []

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sluice-tls-'))
  clock = new ManualClock()
  registry = createRegistry('0')
})
afterEach(async () => {
  for (const certificates of running.splice(0)) await certificates.close()
  await rm(folder, { recursive: true })
})

function make(options: Partial<TlsCertificatesOptions>): TlsCertificates {
  const certificates = new TlsCertificates({ logger: silentLogger(), registry, clock, ...options })
  running.push(certificates)
  return certificates
}

const files = (name: string) => ({
  certFile: join(folder, `${name}.crt`),
  keyFile: join(folder, `${name}.key`),
})

async function write(name: string, names: readonly string[], days = 90): Promise<Certificate> {
  const nowMs = clock.wallMs()
  const certificate = await makeCertificateFor(names, nowMs, nowMs + days * 86_400_000)
  await writeFile(files(name).certFile, certificate.cert)
  await writeFile(files(name).keyFile, certificate.key)
  return certificate
}

const shown = ({ certificates }: TlsCertificates): (string | undefined)[] =>
  certificates.map(({ cert }) => new X509Certificate(cert).subjectAltName)

async function expiries(): Promise<Record<string, number>> {
  const metric = await registry.getSingleMetric('sluice_tls_certificate_expiry_seconds')?.get()
  return Object.fromEntries(metric?.values.map(({ labels, value }) => [labels['name'], value]) ?? [])
}

it('are those of files, in their order, with the time when they run out', async () => {
  await write('a', ['a.test'], 10)
  await write('b', ['b.test'], 20)
  const certificates = make({ files: [files('a'), files('b')], minVersion: 'TLSv1.3' })
  await certificates.start()
  expect(shown(certificates)).toEqual(['DNS:a.test', 'DNS:b.test'])
  expect(certificates.minVersion).toBe('TLSv1.3')
  expect(certificates.handlers).toEqual([])
  const nowSeconds = clock.wallMs() / 1000
  expect(await expiries()).toEqual({
    'a.test': nowSeconds + 10 * 86_400,
    'b.test': nowSeconds + 20 * 86_400,
  })
})

it('change with their files; a bad one is told of once, and the one before stays', async () => {
  const lines: { level: string; msg: string }[] = []
  const logger = createLogger({
    stream: { write: (line) => lines.push(JSON.parse(line) as (typeof lines)[0]) },
  })
  await write('a', ['a.test'])
  const certificates = make({ files: [files('a')], logger })
  await certificates.start()
  let changes = 0
  const unlisten = certificates.onChange(() => changes++)
  const poll = async (): Promise<void> => {
    clock.advance(5000)
    await expect.poll(() => clock.pending).toBe(1)
  }
  await writeFile(files('a').certFile, 'x')
  for (let i = 0; i < 4; i++) await poll()
  expect(shown(certificates)).toEqual(['DNS:a.test'])
  expect(lines.map(({ level, msg }) => [level, msg])).toEqual([['warn', 'certificate not replaced']])

  await write('a', ['new.test'])
  for (let i = 0; i < 3; i++) await poll()
  expect(shown(certificates)).toEqual(['DNS:new.test'])
  expect(changes).toBe(1)
  expect(lines.at(-1)).toMatchObject({ level: 'info', msg: 'certificate replaced' })
  unlisten()
})

it('that cannot be read keep the gateway from starting, and are named', async () => {
  await write('a', ['a.test'])
  const certificates = make({ files: [files('a'), files('gone')] })
  await expect(certificates.start()).rejects.toMatchObject({
    code: 'NET_BAD_CERTIFICATE',
    message: expect.stringContaining('gone.crt'),
  })
  expect(clock.pending).toBe(0)
})

it('are one that signs itself where there is nothing else', async () => {
  const certificates = make({})
  await certificates.start()
  expect(certificates.certificates).toHaveLength(1)
  expect(Object.keys(await expiries())).toEqual([''])
  const [before] = certificates.certificates
  await certificates.close()
  await certificates.start()
  expect(certificates.certificates).toEqual([before])
})

it('are joined by that of an authority, behind those of files', async () => {
  await write('a', ['a.test'])
  const ordered = await makeCertificateFor(['acme.test'], clock.wallMs(), clock.wallMs() + 86_400_000)
  const certificates = make({
    files: [files('a')],
    acme: { folder, directoryUrl: 'https://ca.test/dir', domains: ['acme.test'] },
    order: async () => await Promise.resolve(ordered),
  })
  await certificates.start()
  expect(shown(certificates)).toEqual(['DNS:a.test'])
  certificates.obtain()
  await expect.poll(() => shown(certificates)).toEqual(['DNS:a.test', 'DNS:acme.test'])
  expect(certificates.handlers).toHaveLength(1)
})

it('are told to all listeners, even when one of them cannot take them', async () => {
  await write('a', ['a.test'])
  const certificates = make({ files: [files('a')] })
  let told = 0
  certificates.onChange(() => {
    throw new Error('no')
  })
  certificates.onChange(() => told++)
  await certificates.start()
  expect(told).toBe(1)
})
