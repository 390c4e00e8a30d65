import type { ServerResponse } from 'node:http'
import { expect, test } from 'vitest'
import { passHeadersBack } from './forwarded-headers.ts'

test('what Connection names stays at this hop, however many blanks it stands among', () => {
  const passed: Record<string, unknown> = {}
  const response = {
    hasHeader: () => false,
    setHeader: (name: string, value: unknown) => {
      passed[name] = value
    },
  } as unknown as ServerResponse
  // Were the time quadratic, the test would not end in its time.
  const connection = `close${' '.repeat(300_000)}, x-hop`
  passHeadersBack({ connection, 'x-hop': '1', etag: '"2"' }, response)
  expect(passed).toEqual({ etag: '"2"' })
})
