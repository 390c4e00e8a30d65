import { describe, expect, it } from 'vitest'
import { parseConfig } from './load.ts'

function parse(section: object): ReturnType<typeof parseConfig>['fleet'] {
  return parseConfig('sluice.json', JSON.stringify({ fleet: section })).fleet
}

describe('the section of the fleet', () => {
  it('needs nothing', () => {
    expect(parseConfig('sluice.toml', '').fleet).toEqual({ leaseSeconds: 15 })
  })

  it('takes a name, a secret and a lease', () => {
    const section = { id: 'edge-1.example_a', secret: '0123456789abcdef', leaseSeconds: 30 }
    expect(parse(section)).toEqual(section)
  })

  it.each([
    ['a name with other characters', { id: 'a b' }, 'must be 1 to 48 of'],
    ['a name that is too long', { id: 'x'.repeat(49) }, 'must be 1 to 48 of'],
    ['a lease that ends at once', { leaseSeconds: 1 }, 'leaseSeconds = 1'],
    ['a lease of half a second more', { leaseSeconds: 15.5 }, 'leaseSeconds = 15.5'],
  ])('%s is an error', (_, section, message) => {
    expect(() => parse(section)).toThrow(message)
  })

  it('a secret that is too short is an error that does not show it', () => {
    expect(() => parse({ secret: 'too-short-one' })).toThrow('must have at least 16 characters')
    expect(() => parse({ secret: 'too-short-one' })).not.toThrow('too-short-one')
  })
})
