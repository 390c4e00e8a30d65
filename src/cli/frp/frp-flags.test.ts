import { Command } from 'commander'
import { describe, expect, test } from 'vitest'
import {
  frpcCommonFlags,
  frpcProxyFlags,
  frpcProxyRawOf,
  frpsFlags,
} from '../../mechanisms/frp-config/index.ts'
import { addCommonOptions, graceMs, loadOptions, optionsOf } from './common-options.ts'
import { addFlags, flagValues, normalizedArguments } from './frp-flags.ts'

const flags = [...frpcCommonFlags, ...frpcProxyFlags('tcp')]

function parse(...argv: string[]): unknown {
  const command = addFlags(new Command(), flags).exitOverride()
  command.parse(normalizedArguments(argv, flags), { from: 'user' })
  return frpcProxyRawOf('tcp', flagValues(command, flags))
}

describe('the flags of frp', () => {
  test('stand for settings, in either way to write them', () => {
    const raw = {
      serverAddr: 'frp.example.org',
      auth: { token: 'sesame' },
      proxies: [{ type: 'tcp', name: 'ssh', localPort: 22, remotePort: 6000 }],
    }
    expect(
      parse('--server_addr', 'frp.example.org', '-t', 'sesame', '-n', 'ssh', '--local_port=22', '-r', '6000'),
    ).toMatchObject(raw)
    expect(
      parse(
        '--server-addr=frp.example.org',
        '--token',
        'sesame',
        '--proxy-name',
        'ssh',
        '-l',
        '22',
        '--remote-port',
        '6000',
      ),
    ).toMatchObject(raw)
  })

  test('a switch takes no value but behind an equals sign', () => {
    const proxy = (...argv: string[]) => ({ proxies: [{ transport: { useEncryption: argv[0] === 'true' } }] })
    expect(parse('--ue', '-n', 'x')).toMatchObject(proxy('true'))
    expect(parse('--ue=false', '-n', 'x')).toMatchObject(proxy('false'))
    expect(normalizedArguments(['--tls_only', 'x'], frpsFlags)).toEqual(['--tls-only=true', 'x'])
  })

  test('a value is left as it was written', () => {
    expect(normalizedArguments(['--token=a_b--c_d', 'a_b', '-n', 'my_proxy'], flags)).toEqual([
      '--token=a_b--c_d',
      'a_b',
      '-n',
      'my_proxy',
    ])
  })
})

describe('options of a command within a command', () => {
  /** `frpc stcp visitor`, and the options of each after arguments. */
  function nested() {
    const outer = addCommonOptions(new Command('frpc')).option('-c, --config <file>', '', './frpc.ini')
    const middle = addCommonOptions(outer.enablePositionalOptions().command('stcp'))
    const inner = addCommonOptions(middle.enablePositionalOptions().command('visitor')).option(
      '--api-timeout <duration>',
      '',
      '30s',
    )
    for (const command of [middle, inner]) command.action(() => undefined)
    return (...argv: string[]) => {
      outer.parse(argv, { from: 'user' })
      return { outer: optionsOf(outer), middle: optionsOf(middle), inner: optionsOf(inner) }
    }
  }

  test('the nearest that was given counts', () => {
    const strictOf = (...argv: string[]): boolean | undefined => loadOptions(nested()(...argv).inner).strict
    expect(strictOf('stcp', 'visitor', '--strict-config=false')).toBe(false)
    expect(strictOf('--strict-config=false', 'stcp', 'visitor')).toBe(false)
    expect(strictOf('stcp', '--strict-config=false', 'visitor')).toBe(false)
    expect(strictOf('--strict-config=false', 'stcp', 'visitor', '--strict-config=true')).toBe(true)
    expect(strictOf('--strict-config=false', 'stcp', '--strict-config=true', 'visitor')).toBe(true)
  })

  test('what was not given is the default, of the nearest that has it', () => {
    const { inner, middle, outer } = nested()('stcp', 'visitor')
    expect(inner).toEqual({
      strictConfig: 'true',
      allowUnsafe: [],
      grace: '0',
      config: './frpc.ini',
      apiTimeout: '30s',
    })
    expect([middle['apiTimeout'], outer.config]).toEqual([undefined, './frpc.ini'])
  })

  test('those of a command within are not those of the ones around it', () => {
    const { inner, middle, outer } = nested()(
      '-c',
      'x.toml',
      'stcp',
      '--grace',
      '5',
      'visitor',
      '--grace',
      '7',
    )
    expect([outer.grace, middle.grace, inner.grace]).toEqual(['0', '5', '7'])
    expect([outer.config, middle.config, inner.config]).toEqual(['x.toml', 'x.toml', 'x.toml'])
    expect([graceMs(outer), graceMs(inner)]).toEqual([0, 7000])
  })

  test('features may be listed in one or in several', () => {
    const { inner } = nested()('stcp', 'visitor', '--allow-unsafe', 'a,b', '--allow-unsafe=c')
    expect(loadOptions(inner).allowUnsafe).toEqual(['a', 'b', 'c'])
  })

  test.each(['-1', '1.5', 'x', '', '9999999'])('--grace "%s" is no number of seconds', (grace) => {
    expect(() => graceMs({ grace })).toThrow(`--grace ${grace}: must be a number of seconds`)
  })
})
