import { readFileSync } from 'node:fs'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openBlankPage, startBrowser } from './harness/browser.ts'
import { until } from './harness/until.ts'
import { type RelayCall, relayCall, startRelayCall } from './turn/relay-page.ts'
import { startTurnServer, type TurnServerUnderTest, type TurnTransport } from './turn/turn-server.ts'

let browser: Browser
let server: TurnServerUnderTest

beforeAll(async () => {
  server = await startTurnServer()
  browser = await startBrowser([readFileSync(server.certificateFile, 'utf8')])
})

afterAll(async () => {
  await browser.close()
  await server[Symbol.asyncDispose]()
})

describe('Chromium with iceTransportPolicy "relay"', () => {
  test.for(['udp', 'tcp', 'tls'] as const)(
    'video and messages go from relay to relay over %s',
    async (protocol) => {
      await using blank = await openBlankPage(browser)
      const { page } = blank
      await startRelayCall(page, {
        urls: urlOf(protocol),
        username: server.username,
        credential: server.password,
      })
      const call = await until<RelayCall>(
        'decoded frames and echoed messages',
        async () => {
          const now = await relayCall(page)
          if (now.errors.length > 0) return now
          return now.framesDecoded >= 50 && now.echoed >= 50 && now
        },
        { deadlineMs: 15_000 },
      )
      expect(call).toMatchObject({
        ...{ localType: 'relay', remoteType: 'relay', relayProtocol: protocol },
        ...{ candidateTypes: ['relay'], errors: [] },
      })
      expect(blank.errors).toEqual([])
    },
  )

  test.for(['udp', 'tcp', 'tls'] as const)('a wrong password gives no relay over %s', async (protocol) => {
    await using blank = await openBlankPage(browser)
    const { page } = blank
    await startRelayCall(page, { urls: urlOf(protocol), username: server.username, credential: 'wrong' })
    const refused = await until('a refusal', async () => {
      const { errors, candidateTypes } = await relayCall(page)
      return errors.length > 0 && { errors, candidateTypes }
    })
    expect(refused.candidateTypes).toEqual([])
    expect(refused.errors[0]).toMatch(/^401 /)
  })
})

function urlOf(transport: TurnTransport): string {
  const host = `127.0.0.1:${server.ports[transport]}`
  return { udp: `turn:${host}`, tcp: `turn:${host}?transport=tcp`, tls: `turns:${host}?transport=tcp` }[
    transport
  ]
}
