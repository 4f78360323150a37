/** Files of config/ that are imported as text, so that they are in the executable. */
declare module "*.service" {
  const text: string
  // biome-ignore lint/style/noDefaultExport: what an import as text gives
  export default text
}
declare module "*.conf" {
  const text: string
  // biome-ignore lint/style/noDefaultExport: what an import as text gives
  export default text
}
declare module "*.sysusers" {
  const text: string
  // biome-ignore lint/style/noDefaultExport: what an import as text gives
  export default text
}
declare module "*.modules" {
  const text: string
  // biome-ignore lint/style/noDefaultExport: what an import as text gives
  export default text
}
declare module "*.yaml" {
  const text: string
  // biome-ignore lint/style/noDefaultExport: what an import as text gives
  export default text
}
