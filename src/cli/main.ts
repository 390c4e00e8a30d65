#!/usr/bin/env node
import { Command, Option } from 'commander'
import { SluiceError } from '../foundation/errors.ts'
import { version } from '../gateway/version.ts'
import { frpsFlags } from '../mechanisms/frp-config/index.ts'
import type { CredentialOptions } from './credential.ts'
import type { DrainCommandOptions } from './drain.ts'
import { addFrpc, allFrpcFlags } from './frp/frpc.ts'
import { addFrps } from './frp/frps.ts'
import { normalizedArguments } from './frp/frp-flags.ts'
import type { SrsProxyOptions } from './srs-proxy.ts'
import type { StatusOptions } from './status.ts'
import type { StunnerdFlags } from './stunnerd.ts'
import type { TurncatOptions } from './turncat/turncat.ts'

// What a command needs is loaded when it is run: a tunnel client has no use for the media service.
const program = new Command('sluice')
  .description(
    'A gateway for live media (WebRTC, RTMP, SRT, HTTP-FLV, HLS; each stream led to its origin), a TURN server, and a tunnel.',
  )
  .version(version)

program
  .command('run')
  .description('run the gateway')
  .option(
    '-c, --config <file>',
    'configuration in TOML, YAML or JSON (default: sluice.toml here, if there is one)',
  )
  .action(async (options: { config?: string }) => (await import('./run.ts')).run(options))

program
  .command('demo')
  .description('run the gateway with an embedded origin and a web page to publish and watch')
  .option('-c, --config <file>', 'configuration in TOML, YAML or JSON')
  .action(async (options: { config?: string }) => (await import('./demo.ts')).demo(options))

program
  .command('check')
  .description('check a configuration file and say what is wrong with it')
  .option('-c, --config <file>', 'the file', 'sluice.toml')
  .action(async (options: { config: string }) => (await import('./check.ts')).check(options))

program
  .command('schema')
  .description('print the JSON Schema of the configuration, for editors')
  .action(async () => (await import('./schema.ts')).schema())

ofAdmin(program.command('status'))
  .description('show the gateways, their origins and streams, and the sessions of one gateway')
  .option('--all', 'show every stream instead of the first 50')
  .option('--json', 'print the answer as JSON')
  .action(async (options: StatusOptions) => (await import('./status.ts')).status(options))

ofAdmin(program.command('drain'))
  .description('take a gateway out of rotation; it goes on serving what comes')
  .option(
    '-w, --wait [seconds]',
    'wait until nothing is left (default: an hour); the exit code is 1 when that takes longer',
  )
  .option('--exit', 'let the gateway end when nothing is left')
  .option('--undo', 'take it back into rotation')
  .action(async (options: DrainCommandOptions) => (await import('./drain.ts')).drain(options))

program
  .command('credential')
  .description('make a time-limited TURN credential and print it as JSON')
  .option('-u, --user <id>', 'who it is for')
  .option('-t, --ttl <seconds>', 'for how long it is good (default: that of the configuration, 86400)')
  .option('--uri <uri...>', 'where the TURN servers are, e.g. turn:turn.example.com:3478?transport=udp')
  .option('--ice', 'print what RTCPeerConnection takes')
  .option('--relay-only', 'the same, and browsers use no other path')
  .option(
    '--secret-file <file>',
    'file with the secret in its first line (default: $SLUICE_TURN_SECRET, else that of the configuration)',
  )
  .option(
    '-c, --config <file>',
    'configuration whose [turn] has what is not said here (default: sluice.toml here, if there is one)',
  )
  .action(async (options: CredentialOptions) => (await import('./credential.ts')).credential(options))

program
  .command('turncat')
  .description('carry a local stream or datagrams to a peer through a TURN server')
  .argument(
    '<client>',
    'local end: - for standard input and output, udp://ip:port, tcp://ip:port, unix:///path',
  )
  .argument(
    '<turn>',
    'turn://user:password@host:port?transport=udp|tcp|tls|dtls, or turn:/turns: of RFC 7065',
  )
  .argument('<peer>', 'far end: udp://host:port, or tcp://host:port (RFC 6062)')
  .option('--sni <name>', 'name for TLS to ask for and check (default: the host)')
  .option('-i, --insecure', 'take any certificate')
  .option('-w, --wait <seconds>', 'silence of the peer that ends it after the end of the input (default: 1)')
  .option(
    '-l, --log <level>',
    'debug, info, warn, error or silent, or a list such as all:INFO (default: warn)',
  )
  .option('-v, --verbose', 'the same as --log debug')
  .action(async (client: string, turn: string, peer: string, options: TurncatOptions) =>
    (await import('./turncat/turncat.ts')).turncat(client, turn, peer, options),
  )

program
  .command('stunnerd')
  .description("run a TURN server in the place of STUNner's stunnerd")
  .argument('[uri]', 'turn://user:password@address:port?transport=udp, instead of a configuration')
  .option(
    '-c, --config <origin>',
    'a file, or the URL or host:port of a config discovery server (default: $STUNNER_CONFIG_ORIGIN, else :13478)',
  )
  .option('-w, --watch', 'take over every new configuration of the origin')
  .option('-l, --log <levels>', 'log levels, e.g. all:INFO,turn:DEBUG (default: those of the configuration)')
  .option('--log-format <format>', 'text or json', 'text')
  .option(
    '-i, --id <id>',
    'who asks for a configuration: <namespace>/<name> (default: $STUNNER_NAMESPACE/$STUNNER_NAME, else default/stunnerd-<host>)',
  )
  .option('-u, --udp-thread-num <number>', 'threads of the engine, at most one for each core', '0')
  .option('-d, --dry-run', 'check the configuration, open nothing')
  .option('-v, --verbose', 'the same as -l all:DEBUG')
  .option(
    '--force-ready-status',
    'be ready while draining, for load balancers that stop delivering otherwise',
  )
  .option('--grace <seconds>', 'how long allocations may go on after SIGTERM', '3600')
  .action(async (uri: string | undefined, flags: StunnerdFlags) =>
    (await import('./stunnerd.ts')).stunnerd(uri, flags),
  )

program
  .command('srs-proxy')
  .description('run the gateway in the place of the SRS proxy, set up by its PROXY_* variables and .env')
  .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : 255))
  .option(
    '--register-token <token>',
    'bearer token that origins must send (default: $SLUICE_REGISTER_TOKEN, else none is asked for)',
  )
  .option('--register-allow <range...>', 'addresses that may register (default: every address)')
  .addOption(
    new Option('--keys <rules>', 'how streams are told apart: as by the SRS proxy, or by normalised names')
      .choices(['srs', 'normal'])
      .default('srs'),
  )
  .option('--vhosts <host...>', 'hosts that have streams of their own, with --keys normal')
  .option(
    '--admin <listen>',
    'health, metrics and the admin API (default: 127.0.0.1:9190, or a free port if that is taken)',
  )
  .option(
    '--admin-token <token>',
    'bearer token for metrics and the admin API (default: $SLUICE_ADMIN_TOKEN, else none is asked for)',
  )
  .addOption(
    new Option('-l, --log <level>', 'least level that is written')
      .choices(['error', 'warn', 'info', 'debug'])
      .default('info'),
  )
  .option('--print-config', 'print the sluice.toml that does the same, and end')
  .action(async (options: SrsProxyOptions) => (await import('./srs-proxy.ts')).srsProxy(options))

addFrps(program)
addFrpc(program)

try {
  await program.enablePositionalOptions().parseAsync(argumentsOf(process.argv))
} catch (error) {
  // What we throw on purpose reads as one line; anything else is a bug and keeps its stack.
  process.stderr.write(
    error instanceof SluiceError
      ? `sluice: ${error.code}: ${error.message}\n`
      : `sluice: ${error instanceof Error ? error.stack : String(error)}\n`,
  )
  process.exitCode = 1
}

/** Of commands that ask a running gateway. */
function ofAdmin(command: Command): Command {
  return command
    .option('--admin <url>', 'its admin API (default: that of the configuration, else http://127.0.0.1:9190)')
    .option('--token <token>', 'bearer token (default: $SLUICE_ADMIN_TOKEN, else that of the configuration)')
    .option('-c, --config <file>', 'configuration (default: sluice.toml here, if there is one)')
}

/** frp's users write flags as frp takes them. */
function argumentsOf(argv: readonly string[]): readonly string[] {
  const [node = '', script = '', command = '', ...rest] = argv
  if (command !== 'frps' && command !== 'frpc') return argv
  const flags = command === 'frps' ? frpsFlags : allFrpcFlags
  return [node, script, command, ...normalizedArguments(rest, flags)]
}
