import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ManualClock } from '../../foundation/clock.ts'
import type { Certificate } from '../net/index.ts'
import { createRegistry, silentLogger } from '../telemetry/index.ts'
import { AcmeCertificate, type AcmeCertificateParts } from './acme-certificate.ts'
import type { AcmeOptions } from './acme-options.ts'
import { makeCertificateFor } from './certificate-for.testkit.ts'
import { AcmeError } from './errors.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

let folder: string
let clock: ManualClock
/** Each order waits for one of these, and is told as it begins. */
let orders: { settle: (certificate: Certificate) => void; fail: (error: unknown) => void }[]
let changes: number
const running: AcmeCertificate[] = []

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sluice-acme-'))
  clock = new ManualClock()
  orders = []
  changes = 0
})
afterEach(async () => {
  for (const order of orders) order.fail(new Error('over'))
  for (const acme of running.splice(0)) await acme.close()
  await rm(folder, { recursive: true })
})

async function start(options: Partial<AcmeOptions> = {}): Promise<AcmeCertificate> {
  const order: AcmeCertificateParts['order'] = async ({ store, signal }) => {
    if ((await store.account().catch(() => undefined)) === undefined) {
      await store.saveAccount({ key: 'k' }).catch(() => {})
    }
    return await new Promise<Certificate>((settle, fail) => {
      signal.addEventListener('abort', () => fail(new Error('closed')))
      orders.push({ settle, fail })
    })
  }
  const acme = new AcmeCertificate(
    { folder: join(folder, 'acme'), directoryUrl: 'https://ca.test/dir', domains: ['a.test'], ...options },
    {
      clock,
      logger: silentLogger(),
      registry: createRegistry('0'),
      onChange: () => changes++,
      random: () => 0,
      order,
    },
  )
  running.push(acme)
  await acme.start()
  acme.obtain()
  return acme
}

const certificateOf = (days: number, names = ['a.test']): Promise<Certificate> =>
  makeCertificateFor(names, clock.wallMs(), clock.wallMs() + days * DAY_MS)
const orderCount = async (count: number): Promise<void> => {
  await expect.poll(() => orders.length).toBe(count)
}
/** Moves time, with a look at the end of each step, since timers do not reach farther. */
const pass = (ms: number): void => {
  for (let left = ms; left > 0; left -= HOUR_MS) clock.advance(Math.min(left, HOUR_MS))
}

describe('AcmeCertificate', () => {
  it('orders at once where there is none, and again when it is time', async () => {
    const acme = await start()
    expect(acme.certificate).toBeUndefined()
    await orderCount(1)
    const first = await certificateOf(90)
    orders[0]?.settle(first)
    await expect.poll(() => clock.pending).toBe(1)
    expect([changes, acme.certificate]).toEqual([1, first])

    pass(60 * DAY_MS - 1)
    expect([orders.length, clock.pending]).toEqual([1, 1])
    pass(1)
    await orderCount(2)
    const second = await certificateOf(90)
    orders[1]?.settle(second)
    await expect.poll(() => changes).toBe(2)
    expect(acme.certificate).toEqual(second)
  })

  it('takes what it had over restarts, and keeps it while another order fails', async () => {
    const before = await start()
    await orderCount(1)
    const first = await certificateOf(90)
    orders[0]?.settle(first)
    await expect.poll(() => clock.pending).toBe(1)
    await before.close()
    expect(clock.pending).toBe(0)

    const after = await start()
    expect(String(after.certificate?.cert).trim()).toBe(String(first.cert).trim())
    pass(60 * DAY_MS)
    await orderCount(2)
    orders[1]?.fail(new Error('no'))
    await expect.poll(() => clock.pending).toBe(1)
    expect(after.certificate).toBeDefined()
  })

  it('tries again later each time, also over restarts, but at once for other names', async () => {
    const acme = await start()
    for (const [index, minutes] of [5, 10, 20].entries()) {
      await orderCount(index + 1)
      orders[index]?.fail(new AcmeError('ACME_UNPROVEN', 'no'))
      await expect.poll(() => clock.dueInMs).toBe(minutes * 60_000)
      if (minutes < 20) clock.advance(minutes * 60_000)
    }
    await acme.close()
    await start()
    expect(clock.dueInMs).toBe(20 * 60_000)
    expect(orders).toHaveLength(3)
    await start({ domains: ['a.test', 'b.test'] })
    await orderCount(4)
  })

  it('waits as long as the authority says', async () => {
    await start()
    await orderCount(1)
    orders[0]?.fail(new AcmeError('ACME_REFUSED', 'limit', undefined, 5 * HOUR_MS))
    await expect.poll(() => clock.dueInMs).toBe(5 * HOUR_MS)
  })

  it('orders for other names at once, and shows the old one meanwhile', async () => {
    const before = await start()
    await orderCount(1)
    orders[0]?.settle(await certificateOf(90))
    await expect.poll(() => clock.pending).toBe(1)
    await before.close()
    const after = await start({ domains: ['b.test'] })
    expect(after.certificate).toBeDefined()
    await orderCount(2)
  })

  it('does not order without end when what it gets is never right', async () => {
    await start()
    await orderCount(1)
    orders[0]?.settle(await certificateOf(90, ['other.test']))
    await expect.poll(() => clock.dueInMs).toBe(5 * 60_000)
  })

  it('does not take what no listener could use', async () => {
    const acme = await start()
    await orderCount(1)
    const [one, other] = [await certificateOf(90), await certificateOf(90)]
    orders[0]?.settle({ cert: one.cert, key: other.key })
    await expect.poll(() => clock.dueInMs).toBe(5 * 60_000)
    expect([acme.certificate, changes]).toEqual([undefined, 0])
  })

  it('serves what it could not save', async () => {
    const acme = await start()
    await orderCount(1)
    await rm(join(folder, 'acme'), { recursive: true })
    await writeFile(join(folder, 'acme'), 'in the way')
    const certificate = await certificateOf(90)
    orders[0]?.settle(certificate)
    await expect.poll(() => changes).toBe(1)
    expect(acme.certificate).toBe(certificate)
    await expect.poll(() => clock.dueInMs).toBe(6 * HOUR_MS)
  })

  it('says that its folder cannot be read, and does not start', async () => {
    await writeFile(join(folder, 'acme'), 'in the way')
    await expect(start()).rejects.toMatchObject({ code: 'ACME_FOLDER' })
  })

  it('passes over files that are broken', async () => {
    const first = await start()
    await orderCount(1)
    orders[0]?.settle(await certificateOf(90))
    await expect.poll(() => clock.pending).toBe(1)
    await first.close()
    const [own = ''] = await readdir(join(folder, 'acme'))
    await writeFile(join(folder, 'acme', own, 'certificate.pem'), 'x')
    await writeFile(join(folder, 'acme', own, 'account.json'), '{')
    const second = await start()
    expect(second.certificate).toBeUndefined()
    await orderCount(2)
  })
})
