import { markdownTable } from './table.ts'

/** What a coturn that is newer than Debian's came to, on another day and with another load tool. */
export function turnElsewhere(): string[] {
  return [
    '### coturn 4.17.1, measured elsewhere',
    '',
    'Not of this run: another day and another load tool, two shared cores, loopback, 100 allocations; paced at 15,000/s each',
    'way, saturated with 16 of each client on their way each way. Beside it coturn 4.6.1 and pion/turn 5.0.10 as they came out',
    'there, so that it can be placed among those of this run.',
    '',
    markdownTable([
      [
        'packets per CPU-second',
        'coturn 4.17.1',
        'with multiplex-peer and GSO',
        'coturn 4.6.1',
        'pion/turn 5.0.10',
      ],
      ['172 B, paced', '171 k', '206 k', '186 k', '100 k'],
      ['172 B, saturated', '360 k to 363 k', '387 k to 395 k', '369 k', '262 k to 268 k'],
      ['1,200 B, paced', '202 k', '220 k', '183 k', '94 k'],
      ['1,200 B, saturated', '331 k', '338 k', '313 k', '209 k'],
    ]),
    '',
    markdownTable([
      ['', 'coturn 4.17.1', 'coturn 4.6.1', 'pion/turn 5.0.10'],
      ['Allocate cycles per CPU-second', '6.0 k', '5.7 k', '11.0 k'],
      ['401 challenges per CPU-second', '164 k', '133 k', '122 k'],
      ['Binding requests per CPU-second', '266 k', '', '245 k'],
      ['memory per idle allocation', '21.5 KiB', '22.6 KiB', '15.5 KiB'],
    ]),
    '',
  ]
}
