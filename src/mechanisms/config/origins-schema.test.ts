import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { followSeconds, originsSchema, placementFields } from './origins-schema.ts'

const placement = z.strictObject(placementFields)

function faults(schema: z.ZodType, value: unknown): readonly string[] {
  const { error } = schema.safeParse(value)
  return error?.issues.map(({ path, message }) => `${path.join('.')}: ${message}`) ?? []
}

describe('[[origins]]', () => {
  it('has defaults', () => {
    expect(originsSchema.parse(undefined)).toEqual([])
    expect(originsSchema.parse([{ name: 'a', kind: 'srs', host: '10.0.0.5' }])).toEqual([
      {
        name: 'a',
        kind: 'srs',
        host: '10.0.0.5',
        weight: 1,
        backup: false,
        checkSeconds: 10,
        timeoutSeconds: 3,
        checkFailures: 2,
        followSeconds: 0,
      },
    ])
  })

  it.each([
    [
      {
        name: 'a',
        kind: 'mediamtx',
        host: 'm.example',
        urls: { hls: false, whip: 'https://HOST:8889/{app}/{stream}/whip' },
      },
    ],
    [
      {
        name: 'a',
        kind: 'custom',
        urls: { rtmp: 'rtmp://[::1]/{app}/{stream}' },
        check: false,
        zone: 'z',
        weight: 0,
      },
    ],
    [{ name: 'a', kind: 'srs', host: '2001:db8::1', ports: { srt: false, rtc: 0 }, check: 'tcp://[::1]:1' }],
    [{ name: 'a', kind: 'mediamtx', host: 'h', followSeconds: 5, api: 'http://me:secret@h:9997' }],
  ])('takes %j', (given) => {
    expect(originsSchema.parse([given])).toMatchObject([given])
  })

  it.each([
    [{ name: '' }, '0.name: must not be empty'],
    [{ kind: 'other' }, /^0\.kind: /],
    [{ host: 'a/b' }, '0.host: must be an address without brackets, or a host name'],
    [{ host: undefined }, '0.host: is needed where urls name no place'],
    [{ kind: 'custom' }, '0.urls: are needed: nothing is known of a custom origin'],
    [{ host: undefined, urls: { flv: 'http://HOST/x' } }, '0.host: is needed for HOST in urls'],
    [{ urls: { whip: 'rtmp://h/' } }, /^0\.urls\.whip: /],
    [{ urls: { whip: 'http://h/{name}' } }, /^0\.urls\.whip: /],
    [{ urls: { whipp: 'http://h/' } }, /^0\.urls: /],
    [{ kind: 'mediamtx', ports: { rtmp: 1 } }, '0.ports: are those of an srs without urls'],
    [{ ports: { rtmp: 0 } }, /^0\.ports\.rtmp: /],
    [{ weight: -1 }, /^0\.weight: /],
    [{ check: 'udp://h:1' }, /^0\.check: /],
    [{ check: 'http://me:secret@h/' }, /^0\.check: (?!.*secret@)/],
    [{ checkSeconds: 0 }, /^0\.checkSeconds: /],
    [
      { kind: 'nginx-rtmp', followSeconds: 1 },
      '0.followSeconds: must be 0: a nginx-rtmp does not list its streams',
    ],
    [
      { kind: 'mediamtx', host: undefined, urls: { whip: 'http://h/' }, followSeconds: 1 },
      '0.api: is needed where there is no host',
    ],
    [{ api: 'h:1' }, '0.api: must be a URL such as http://10.0.0.5:9997'],
  ])('refuses %j', (given, fault) => {
    const found = faults(originsSchema, [{ name: 'a', kind: 'srs', host: 'h', ...given }])
    expect(found[0]).toMatch(fault)
  })

  it('has a JSON Schema for editors, with a description of every key', () => {
    const schema = z.toJSONSchema(originsSchema, { io: 'input' }) as {
      readonly items: { readonly properties: Record<string, { description?: string }> }
    }
    const keys = Object.entries(schema.items.properties)
    expect(keys.map(([key]) => key)).toContain('urls')
    expect(keys.filter(([, { description }]) => description === undefined)).toEqual([])
  })

  it('refuses two of one name', () => {
    const one = { name: 'a', kind: 'srs', host: 'h' }
    expect(faults(originsSchema, [one, one])).toEqual(['1.name: another origin is named a'])
  })
})

describe('where new streams go', () => {
  it('has defaults', () => {
    expect(placement.parse({})).toEqual({ policy: 'random', apps: [] })
    expect(followSeconds.parse(undefined)).toBe(0)
  })

  it.each([
    [{ policy: 'fastest' }, /^policy: /],
    [{ zone: '' }, 'zone: must not be empty'],
    [{ apps: [{ app: 'a' }, { app: 'a' }] }, 'apps.1.app: another rule is for a'],
    [{ apps: [{ app: 'a', origins: [] }] }, 'apps.0.origins: must name one, or no origin may carry the app'],
  ])('refuses %j', (given, fault) => {
    expect(faults(placement, given)[0]).toMatch(fault)
  })
})
