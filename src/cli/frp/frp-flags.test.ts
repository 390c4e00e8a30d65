import { Command } from 'commander'
import { describe, expect, test } from 'vitest'
import {
  frpcCommonFlags,
  frpcProxyFlags,
  frpcProxyRawOf,
  frpsFlags,
} from '../../mechanisms/frp-config/index.ts'
import { addCommonOptions, loadOptions, optionsOf } from './common-options.ts'
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
  test('the nearest that was given counts', () => {
    const outer = addCommonOptions(new Command('frpc')).enablePositionalOptions()
    const inner = addCommonOptions(outer.command('tcp'))
    let isStrict: boolean | undefined
    inner.action(() => {
      isStrict = loadOptions(optionsOf(inner)).strict
    })
    const strictOf = (...argv: string[]): boolean | undefined => {
      outer.parse(argv, { from: 'user' })
      return isStrict
    }
    expect(strictOf('tcp', '--strict-config=false')).toBe(false)
    expect(strictOf('--strict-config=false', 'tcp', '--strict-config=true')).toBe(true)
  })
})
