import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { expect, it } from 'vitest'
import { createLogger } from '../../mechanisms/telemetry/index.ts'
import { adminListener } from './admin-listener.ts'

it('the admin API is at its usual port, and at a free one when that is taken, with a warning', async () => {
  const lines: string[] = []
  const logger = createLogger({ stream: { write: (line) => void lines.push(line) } })
  const other = createServer().listen(0, '127.0.0.1')
  await once(other, 'listening')
  const usual = `127.0.0.1:${(other.address() as AddressInfo).port}`

  expect(await adminListener(logger, usual)).toBe('127.0.0.1:0')
  expect(lines).toEqual([expect.stringContaining('--admin')])
  expect(lines[0]).toContain(usual)

  other.close()
  await once(other, 'close')
  expect(await adminListener(logger, usual)).toBe(usual)
  expect(lines).toHaveLength(1)
})
