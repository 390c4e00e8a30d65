import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { hostName } from './host-name.ts'
import { RouteTable } from './route-table.ts'

function tableOf(...keys: readonly (readonly [domain: string, location?: string, httpUser?: string])[]) {
  const table = new RouteTable<string>()
  for (const [domain, location = '', httpUser = ''] of keys) {
    table.add({ domain, location, httpUser }, [domain, location, httpUser].filter(Boolean).join(' '))
  }
  return table
}

describe('RouteTable', () => {
  it.each([
    ['a.example.com', 'a.example.com'],
    ['x.example.com', '*.example.com'],
    ['x.y.example.com', '*.y.example.com'],
    ['z.x.y.example.com', '*.y.example.com'],
    ['example.com', '*'],
    ['example.org', '*'],
    ['', '*'],
    [`${'a.'.repeat(40_000)}example.com`, '*'],
  ])('finds for %j the route of %j', (host, found) => {
    const table = tableOf(['a.example.com'], ['*.example.com'], ['*.y.example.com'], ['*.com'], ['*'])
    expect(table.find(host, '/', '')).toBe(found)
  })

  it('finds nothing where nothing is', () => {
    expect(tableOf(['*.com'], ['a.com']).find('b.com', '/', '')).toBeUndefined()
    expect(tableOf(['a.com', '/x']).find('a.com', '/y', '')).toBeUndefined()
  })

  it.each([
    ['/foo', '/foo'],
    ['/foo/', '/foo'],
    ['/foo/bar/x', '/foo/bar'],
    ['/foobar', '/'],
    ['/dir/', '/dir/'],
    ['/dir/x', '/dir/'],
    ['/dir', '/'],
    ['*', '*'],
  ])('leads the path %s to the longest location that it lies under, %s', (path, location) => {
    const table = new RouteTable<string>()
    for (const each of ['/', '/foo', '/foo/bar', '/dir/', '*']) {
      table.add({ domain: 'a', location: each, httpUser: '' }, each)
    }
    expect(table.find('a', path, '')).toBe(location)
  })

  it('asks the routes of the user first, at each domain', () => {
    const table = tableOf(
      ['a.example.com', '/x', 'bob'],
      ['a.example.com'],
      ['*.example.com', '', 'bob'],
      ['*', '', 'eve'],
    )
    expect(table.find('a.example.com', '/x', 'bob')).toBe('a.example.com /x bob')
    expect(table.find('a.example.com', '/y', 'bob')).toBe('a.example.com')
    expect(table.find('a.example.com', '/x', 'eve')).toBe('a.example.com')
    expect(table.find('b.example.com', '/x', 'bob')).toBe('*.example.com bob')
    expect(table.find('b.example.com', '/x', 'eve')).toBe('* eve')
    expect(table.find('b.example.com', '/x', '')).toBeUndefined()
  })

  it('refuses the same domain, location and user twice, in any case of the domain', () => {
    const table = tableOf(['a.example.com', '/x', 'bob'])
    const key = { domain: 'A.example.com', location: '/x', httpUser: 'bob' }
    expect(() => table.add(key, '')).toThrow(
      expect.objectContaining({ code: 'TUNNEL_ROUTE_TAKEN', message: 'router config conflict' }),
    )
    table.add({ ...key, httpUser: '' }, '')
    table.add({ ...key, location: '' }, '')
    expect(table.size).toBe(3)
  })

  it('holds what was added and not taken out, whatever the order', () => {
    const key = fc.record({
      domain: fc.constantFrom('a', 'b', '*'),
      location: fc.constantFrom('', '/x', '/x/y'),
      httpUser: fc.constantFrom('', 'u'),
    })
    fc.assert(
      fc.property(fc.array(fc.tuple(key, fc.boolean()), { maxLength: 60 }), (steps) => {
        const table = new RouteTable<object>()
        const model = new Map<string, { value: object; remove: () => void }>()
        for (const [each, isAdded] of steps) {
          const name = JSON.stringify(each)
          const before = model.get(name)
          if (isAdded && before === undefined) {
            const value = {}
            model.set(name, { value, remove: table.add(each, value) })
          } else if (!isAdded && before !== undefined) {
            before.remove()
            before.remove()
            model.delete(name)
          }
        }
        expect(table.size).toBe(model.size)
        for (const [name, { value }] of model) {
          const { domain, location, httpUser } = JSON.parse(name) as { [key: string]: string }
          expect(table.find(domain ?? '', location ?? '', httpUser ?? '')).toBe(value)
        }
      }),
    )
  })
})

describe('hostName', () => {
  it.each([
    ['A.Example.com:8080', 'a.example.com'],
    ['a.example.com.', 'a.example.com'],
    ['a.example.com.:80', 'a.example.com'],
    ['[::1]:80', '::1'],
    ['[::1]', '[::1]'],
    ['', ''],
    [':80', ''],
  ])('of %j is %j', (authority, name) => {
    expect(hostName(authority)).toBe(name)
  })
})
