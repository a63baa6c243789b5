#!/bin/sh
# Starts $CHROMIUM, and adds features to those that Playwright turns off. A second --disable-features would replace the
# first. The menus of the address bar, which nobody sees without a window, are pages in processes of their own: with
# them and the process that is kept for the next page, a new page takes twice the time.
features=WebUIOmniboxPopup,WebUIOmniboxAimPopup,WebUIOmniboxFullPopup,SpareRendererForSitePerProcess
for argument; do
    shift
    case $argument in
        --disable-features=*) argument=$argument,$features ;;
    esac
    set -- "$@" "$argument"
done
exec "$CHROMIUM" "$@"
