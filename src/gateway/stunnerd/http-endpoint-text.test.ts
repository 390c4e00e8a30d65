import { describe, expect, it } from 'vitest'
import { parseHttpEndpoint } from './http-endpoint-text.ts'

describe('an HTTP endpoint', () => {
  it('is a URL whose address, port and path may be left out', () => {
    expect(parseHttpEndpoint('http://:8086', 1)).toEqual({ listen: { port: 8086 }, path: '/' })
    expect(parseHttpEndpoint('http://0.0.0.0:8080/metrics', 1)).toEqual({
      listen: { host: '0.0.0.0', port: 8080 },
      path: '/metrics',
    })
    expect(parseHttpEndpoint('http://', 8086)).toEqual({ listen: { port: 8086 }, path: '/' })
    expect(parseHttpEndpoint('HTTP://localhost/x/', 8080)).toEqual({
      listen: { host: '127.0.0.1', port: 8080 },
      path: '/x/',
    })
    expect(parseHttpEndpoint('http://[::1]', 8080)).toEqual({
      listen: { host: '::1', port: 8080 },
      path: '/',
    })
  })

  it('is nothing else', () => {
    const wrong = [
      '',
      'https://:1',
      ':8086',
      'http://host:1',
      'http://:65536',
      'http://[1.2.3.4]:1',
      'http://::1',
    ]
    for (const text of [...wrong, 'http://:1/a?b', 'http://:1/a#b', 'http://u@1.2.3.4']) {
      expect(parseHttpEndpoint(text, 1), text).toBe(undefined)
    }
  })
})
