/** nsswitch.conf(5): whether and in which order the host asks its hosts file, systemd-resolved and DNS. */

/** Sources of host names, in the order they are asked. */
export function parseNsswitch(text: string): readonly string[] {
  for (const raw of text.split(/\r?\n/)) {
    const line = raw.replace(/#.*/, '').trim()
    if (!/^hosts\s*:/.test(line)) continue
    // Reactions such as [NOTFOUND=return] belong to the source before them.
    return line
      .replace(/^hosts\s*:/, '')
      .replaceAll(/\[[^\]]*\]/g, ' ')
      .trim()
      .split(/\s+/)
      .filter((source) => source !== '')
  }
  // nsswitch.conf(5): without the line (glibc ≥ 2.34) "files dns".
  return ['files', 'dns']
}
