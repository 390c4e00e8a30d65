import { Demo } from '../gateway/demo.ts'
import type { GatewayAddresses } from '../gateway/gateway.ts'
import { type Config, defaultConfig } from '../mechanisms/config/index.ts'
import { createLogger } from '../mechanisms/telemetry/index.ts'
import { configOf } from './config-file.ts'
import { runUntilSignal } from './until-signal.ts'

/** `sluice demo`: the gateway with an embedded origin and a page to publish and watch. */
export async function demo(options: { readonly config?: string }): Promise<void> {
  const config = (await configOf(options.config)) ?? quietConfig()
  const logger = createLogger({ level: config.log.level })
  const service = new Demo(config, logger)
  await runUntilSignal(service, {
    logger,
    // Whoever presses Ctrl-C in the demo wants it to end.
    graceMs: 0,
    onReady: () => process.stdout.write(welcome(service.addresses)),
  })
}

/** The page and the welcome say what a newcomer needs; log lines would hide it. */
function quietConfig(): Config {
  return { ...defaultConfig(), log: { level: 'warn' } }
}

function welcome({ http, rtmp }: GatewayAddresses): string {
  const httpPort = portOf(http)
  const rtmpPort = portOf(rtmp)
  return `
  Sluice runs, with an origin of its own behind it.

  In a browser   http://localhost:${httpPort}/
  Publish        ffmpeg -re -f lavfi -i testsrc2=size=640x360:rate=30 -f lavfi -i sine -c:v libx264 -preset veryfast \\
                   -tune zerolatency -pix_fmt yuv420p -g 60 -c:a aac -ar 44100 -f flv rtmp://localhost:${rtmpPort}/live/test
                 or OBS: server rtmp://localhost:${rtmpPort}/live, stream key test
                 or OBS with WHIP: http://localhost:${httpPort}/live/test/whip
  Watch          ffplay rtmp://localhost:${rtmpPort}/live/test
                 ffplay http://localhost:${httpPort}/live/test.flv

  Ctrl-C ends it.
`
}

function portOf([address = '']: readonly string[]): string {
  return address.slice(address.lastIndexOf(':') + 1)
}
