import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ConfigError } from './errors.ts'
import { loadConfig, parseConfig } from './load.ts'
import { configJsonSchema, defaultConfig } from './schema.ts'

function failure(file: string, text: string): ConfigError {
  try {
    parseConfig(file, text)
  } catch (error) {
    if (error instanceof ConfigError) return error
    throw error
  }
  throw new Error('the configuration was accepted')
}

describe('configuration', () => {
  it('is complete without a file', () => {
    const config = defaultConfig()
    expect(config.media.rtmp.listen).toEqual(['1935'])
    expect(config.admin.listen).toBe('127.0.0.1:9190')
    expect(config.registration.listen).toBe('127.0.0.1:12025')
  })

  it('is the same from TOML, YAML and JSON', () => {
    const toml = parseConfig('sluice.toml', '[media.rtmp]\nlisten = ["19350"]\n')
    const yaml = parseConfig('sluice.yaml', 'media:\n  rtmp:\n    listen: ["19350"]\n')
    const json = parseConfig('sluice.json', '{"media":{"rtmp":{"listen":["19350"]}}}')
    expect(yaml).toEqual(toml)
    expect(json).toEqual(toml)
    expect(toml.media.rtmp.listen).toEqual(['19350'])
  })

  it('names file, line, key, value and what is allowed', () => {
    const error = failure('sluice.toml', '# mine\n[balancer]\npolicy = "fastest"\n')
    expect(error.code).toBe('CONFIG_INVALID')
    expect(error.message).toMatch(
      /^sluice\.toml:3: balancer\.policy = "fastest": .*"random".*"least-streams"/,
    )
  })

  it('refuses threads where the engine has none', () => {
    const error = failure('sluice.toml', '[datapath]\nengine = "node"\nthreads = 2\n')
    expect(error.message).toBe(
      'sluice.toml:3: datapath.threads = 2: engine "node" has no threads of its own; must be 1 or "auto"',
    )
    expect(parseConfig('sluice.toml', 'datapath = { threads = "auto" }').datapath.threads).toBe('auto')
  })

  it('refuses keys of the SRS proxy where rules of access look at streams', () => {
    const srs = '[routing]\nkeys = "srs"\n[[media.access]]\n'
    for (const rule of [
      'app = "live"',
      'stream = "a*"',
      'vhost = "h"',
      'hooks = { onPlay = ["http://h/x"] }',
    ]) {
      expect(failure('sluice.toml', srs + rule).message).toMatch(
        /^sluice\.toml:2: routing\.keys = "srs": must be "normal"/,
      )
    }
    const play = 'play = { keys = ["a-static-key"] }'
    expect(parseConfig('sluice.toml', srs + play).routing.keys).toBe('srs')
    expect(parseConfig('sluice.toml', '[[media.access]]\napp = "live"').routing.keys).toBe('normal')
  })

  it('names an unknown key with those that exist beside it', () => {
    const error = failure('sluice.toml', '[media.webrtc]\nlisten = "8000"\nlisen = "8001"\n')
    expect(error.message).toBe(
      'sluice.toml:3: media.webrtc.lisen: unknown key; allowed here: listen, publicAddresses, keepOriginAddresses, tcpListen, tcpPublicAddresses, iceTcp, idleSeconds, maxSessions, allowIceQuery, lookupsPerSecond, lookupsPerSource, unverified',
    )
  })

  it('finds the line in lists of tables, inline tables and YAML', () => {
    const tables =
      '[[media.webrtc.publicAddresses]]\naddress = "203.0.113.5"\n[[media.webrtc.publicAddresses]]\naddress = "example"\n'
    expect(failure('a.toml', tables).problems).toMatchObject([
      { line: 4, key: 'media.webrtc.publicAddresses[1].address' },
    ])
    const inline = '[media]\n\nhttp = { listen = ["99999"] }\n'
    expect(failure('a.toml', inline).problems).toMatchObject([{ line: 3, key: 'media.http.listen[0]' }])
    expect(failure('a.yml', 'media:\n  http:\n    listen:\n      - x\n').problems).toMatchObject([
      { line: 4 },
    ])
  })

  it('reports every problem at once', () => {
    const error = failure('a.toml', '[balancer]\nmaxPicks = 0\nmaxOrigins = "many"\n')
    expect(error.problems.map((problem) => problem.key)).toEqual(['balancer.maxOrigins', 'balancer.maxPicks'])
  })

  it('never shows a token', () => {
    const error = failure('a.toml', '[admin]\ntoken = 12345678\n')
    expect(error.message).toContain('admin.token')
    expect(error.message).not.toContain('12345678')
  })

  it('reports syntax errors with their line', () => {
    expect(failure('a.toml', 'x = 1\n[media\n')).toMatchObject({
      code: 'CONFIG_SYNTAX',
      problems: [{ line: 2 }],
    })
    expect(failure('a.yaml', 'media: [1\n').code).toBe('CONFIG_SYNTAX')
    expect(failure('a.json', '{"media": ').code).toBe('CONFIG_SYNTAX')
  })

  it('reports a file that is not there', async () => {
    await expect(loadConfig('/nowhere/sluice.toml')).rejects.toMatchObject({ code: 'CONFIG_UNREADABLE' })
  })

  it('reads a file from disk', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'sluice-config-'))
    try {
      await writeFile(join(folder, 'sluice.toml'), '[shutdown]\ngraceSeconds = 3\n')
      expect((await loadConfig(join(folder, 'sluice.toml'))).shutdown.graceSeconds).toBe(3)
    } finally {
      await rm(folder, { recursive: true })
    }
  })

  it('never throws anything but a configuration error', () => {
    fc.assert(
      fc.property(fc.constantFrom('a.toml', 'a.yaml', 'a.json'), fc.string(), (file, text) => {
        try {
          parseConfig(file, text)
        } catch (error) {
          expect(error).toBeInstanceOf(ConfigError)
        }
      }),
    )
  })

  it('describes itself as a JSON Schema', () => {
    expect(configJsonSchema()).toMatchObject({ type: 'object', properties: { media: { type: 'object' } } })
  })
})
