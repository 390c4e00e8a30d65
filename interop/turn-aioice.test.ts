import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { runAioicePair } from './turn/aioice-pair.ts'
import { startTurnServer, type TurnServerUnderTest } from './turn/turn-server.ts'

let server: TurnServerUnderTest

beforeAll(async () => {
  server = await startTurnServer()
})

afterAll(async () => {
  await server[Symbol.asyncDispose]()
})

describe('two ICE agents of aioice that may use relays only', () => {
  test.for(['udp', 'tcp', 'tls'] as const)(
    'connect over %s, and every message comes whole',
    async (transport) => {
      expect(await runAioicePair(server, transport, 40)).toEqual({
        candidates: ['relay', 'relay'],
        there: 40,
        back: 40,
      })
    },
  )

  test('find no relay with a wrong password', async () => {
    await expect(runAioicePair({ ...server, password: 'wrong' }, 'udp', 1)).rejects.toThrow('ended with 1')
  })
})
