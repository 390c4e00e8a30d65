import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { ManualClock } from '../../foundation/clock.ts'
import { CertificateFiles } from './certificate-files.ts'
import { makeCertificate, type TestCertificate } from './certificate.testkit.ts'
import type { Certificate } from './certificate.ts'

let first: TestCertificate
let second: TestCertificate
let folder: string
const opened: CertificateFiles[] = []

beforeAll(async () => {
  first = await makeCertificate()
  second = await makeCertificate()
})
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'certificate-files-'))
})
afterEach(async () => {
  for (const files of opened.splice(0)) await files.close()
  await rm(folder, { recursive: true })
})

/** Files that are watched, with the clock in hand and what was told. */
function watch(name = '') {
  const clock = new ManualClock()
  const changes: Certificate[] = []
  const errors: unknown[] = []
  const files = new CertificateFiles({
    certFile: join(folder, name, 'tls.crt'),
    keyFile: join(folder, name, 'tls.key'),
    onChange: (certificate) => changes.push(certificate),
    onError: (error) => errors.push(error),
    clock,
  })
  opened.push(files)
  /** One reading, to its end: the next one is armed. */
  const poll = async (): Promise<void> => {
    clock.advance(5000)
    await expect.poll(() => clock.pending, { interval: 2 }).toBe(1)
  }
  return { clock, changes, errors, files, poll }
}

async function put({ cert, key }: TestCertificate, name = ''): Promise<void> {
  await mkdir(join(folder, name), { recursive: true })
  await writeFile(join(folder, name, 'tls.crt'), cert)
  await writeFile(join(folder, name, 'tls.key'), key)
}

describe('CertificateFiles', () => {
  it('reads the files when it starts, and tells of no change while there is none', async () => {
    await put(first)
    const { changes, errors, files, poll } = watch()
    await files.start()
    await files.start()
    expect(files.certificate).toEqual(first)
    for (let i = 0; i < 3; i++) await poll()
    expect([changes, errors]).toEqual([[], []])
  })

  it('tells once of files that were written anew', async () => {
    await put(first)
    const { changes, files, poll } = watch()
    await files.start()
    await put(second)
    for (let i = 0; i < 4; i++) await poll()
    expect(changes).toEqual([second])
    expect(files.certificate).toEqual(second)
  })

  it('notices the turn of a symlink, as Kubernetes does it', async () => {
    await put(first, '..1')
    await put(second, '..2')
    await symlink('..1', join(folder, '..data'))
    await mkdir(join(folder, 'tls'))
    for (const name of ['tls.crt', 'tls.key']) {
      await symlink(join('..', '..data', name), join(folder, 'tls', name))
    }
    const { changes, files, poll } = watch('tls')
    await files.start()
    await symlink('..2', join(folder, '..data_tmp'))
    await rename(join(folder, '..data_tmp'), join(folder, '..data'))
    await poll()
    await poll()
    expect(changes).toEqual([second])
  })

  it('waits for the key when the certificate comes first', async () => {
    await put(first)
    const { changes, errors, files, poll } = watch()
    await files.start()
    await writeFile(join(folder, 'tls.crt'), second.cert)
    await poll()
    await writeFile(join(folder, 'tls.key'), second.key)
    await poll()
    expect([changes, errors]).toEqual([[], []])
    await poll()
    expect([changes, errors]).toEqual([[second], []])
  })

  it('tells once of files that cannot be used, keeps the certificate, and takes the next good one', async () => {
    await put(first)
    const { changes, errors, files, poll } = watch()
    await files.start()
    await put({ cert: second.cert, key: first.key })
    for (let i = 0; i < 4; i++) await poll()
    expect(errors).toMatchObject([
      { code: 'NET_BAD_CERTIFICATE', message: expect.stringContaining(join(folder, 'tls.crt')) },
    ])
    expect(files.certificate).toEqual(first)
    await rm(join(folder, 'tls.key'))
    for (let i = 0; i < 3; i++) await poll()
    expect(errors).toHaveLength(2)
    await put(second)
    for (let i = 0; i < 2; i++) await poll()
    expect(changes).toEqual([second])
    expect(errors).toHaveLength(2)
  })

  it('a bad change that is taken back is no change', async () => {
    await put(first)
    const { changes, errors, files, poll } = watch()
    await files.start()
    await put({ cert: 'x', key: 'y' })
    for (let i = 0; i < 2; i++) await poll()
    await put(first)
    for (let i = 0; i < 2; i++) await poll()
    expect(errors).toHaveLength(1)
    expect(changes).toEqual([])
  })

  it('passes on what its user throws at a change, and goes on', async () => {
    await put(first)
    const clock = new ManualClock()
    const errors: unknown[] = []
    const refusal = new Error('not this one')
    const files = new CertificateFiles({
      certFile: join(folder, 'tls.crt'),
      keyFile: join(folder, 'tls.key'),
      pollMs: 10,
      clock,
      onChange: () => {
        throw refusal
      },
      onError: (error) => errors.push(error),
    })
    opened.push(files)
    await files.start()
    await put(second)
    for (let i = 0; i < 2; i++) {
      clock.advance(10)
      await expect.poll(() => clock.pending, { interval: 2 }).toBe(1)
    }
    expect(errors).toEqual([refusal])
  })

  it('does not start with files that are missing or bad, and names them', async () => {
    const { files, clock } = watch()
    await expect(files.start()).rejects.toMatchObject({
      code: 'NET_BAD_CERTIFICATE',
      message: expect.stringContaining('ENOENT'),
    })
    expect(clock.pending).toBe(0)
    await put(first)
    await files.start()
    expect(files.certificate).toEqual(first)
  })

  it('tells nothing after it is closed, also within its start and within a reading', async () => {
    await put(first)
    const { changes, clock, files, poll } = watch()
    const starting = files.start()
    await files.close()
    await starting
    expect(clock.pending).toBe(0)

    await files.start()
    await put(second)
    await poll()
    clock.advance(5000)
    await files.close()
    await files.close()
    // The reading that was under way is over before these are, which begin after it.
    for (let i = 0; i < 10; i++) {
      const later = watch().files
      await later.start()
      await later.close()
    }
    expect(changes).toEqual([])
    expect(clock.pending).toBe(0)
  })

  it('an aborted start rejects', async () => {
    await put(first)
    const { files, clock } = watch()
    const controller = new AbortController()
    const starting = files.start({ signal: controller.signal })
    controller.abort(new Error('changed my mind'))
    await expect(starting).rejects.toThrow('changed my mind')
    expect(clock.pending).toBe(0)
  })
})
